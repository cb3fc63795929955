/* families: see families.h. A sign is a part of the canonical form (canonical.h) that says what the
 * row does: it is long, so that a template which says anything else has no row. */
#include "tokenizer/chat/families.h"

/* ---- parts of signs ---- */

#define FOR "{%formessageinmessages%}"
#define IF_USER "{%ifmessage['role']=='user'%}"
#define IF_ASSISTANT "{%elifmessage['role']=='assistant'%}"
#define CHATML_TURN "{{'<|im_start|>'+message['role']+'\\n'+message['content']+'<|im_end|>\\n'}}"
#define CHATML_SYSTEM                     \
    "{%ifmessages[0]['role']=='system'%}" \
    "{{'<|im_start|>system\\n'+messages[0]['content']+'<|im_end|>\\n'}}"
#define CHATML_REPLY "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\\n'}}"
#define CHATML_DEFAULT(text)                                                            \
    FOR "{%ifloop.firstandmessages[0]['role']!='system'%}{{'<|im_start|>system\\n" text \
        "<|im_end|>\\n'}}{%endif%}" CHATML_TURN "{%endfor%}" CHATML_REPLY
#define LLAMA_3_TURN                                                                          \
    "'<|start_header_id|>'+message['role']+'<|end_header_id|>\\n\\n'+message['content']|trim" \
    "+'<|eot_id|>'"
#define LLAMA_3_DATE \
    "{{'Cutting Knowledge Date: December 2023\\n'}}{{'Today Date: '+date_string+'\\n\\n'}}"
#define MISTRAL_SYSTEM "{%setsystem_message=messages[0]['content']%}"
#define GEMMA_START "{{'<start_of_turn>'+role+'\\n'+"
#define GEMMA_REPLY "{%ifadd_generation_prompt%}{{'<start_of_turn>model\\n'}}"
#define PHI_TURN(role) "{{'<|" role "|>\\n'+message['content']+'<|end|>\\n'}}"
#define GRANITE_TURN(role) \
    "{{'<|start_of_role|>" role "<|end_of_role|>'+message['content']+'<|end_of_text|>\\n'}}"
#define GRANITE_SYSTEM \
    "{{'<|start_of_role|>system<|end_of_role|>'+system_message+'<|end_of_text|>\\n'}}"
#define GRANITE_HELPFUL \
    "{%else%}{%setsystem_message=system_message+' You are a helpful AI assistant.'%}{%endif%}"
#define DEEPSEEK_START "{{bos_token}}{{ns.system_prompt}}"
#define DEEPSEEK_USER "{{'<｜User｜>'+message['content']}}"
#define DEEPSEEK_CUT                                                                 \
    "{%if'</think>'incontent%}{%setcontent=content.split('</think>')[-1]%}{%endif%}" \
    "{{'<｜Assistant｜>'+content+'<｜end▁of▁sentence｜>'}}"
#define DEEPSEEK_REPLY(text) \
    "{%ifadd_generation_promptandnotns.is_tool%}{{'<｜Assistant｜>" text "'}}{%endif%}"
#define VICUNA_DEFAULT                                                                             \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives " \
    "helpful, detailed, and polite answers to the user's questions."
#define CODER_DEFAULT                                                                        \
    "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by " \
    "Deepseek Company, and you only answer questions related to computer science. For "      \
    "politically sensitive questions, security and privacy issues, and other non-computer "  \
    "science questions, you will refuse to answer"
#define SMOLLM_DEFAULT "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
#define SMOLLM_THINKING                                                                          \
    SMOLLM_DEFAULT                                                                               \
    ". Your role as an assistant involves thoroughly exploring questions through a systematic "  \
    "thinking process before providing the final precise and accurate solutions. This requires " \
    "engaging in a comprehensive cycle of analysis, summarizing, exploration, reassessment, "    \
    "reflection, backtracking, and iteration to develop well-considered thinking process. "      \
    "Please structure your response into two main sections: Thought and Solution using the "     \
    "specified format: <think> Thought section </think> Solution section. In the Thought "       \
    "section, detail your reasoning process in steps. Each step should include detailed "        \
    "considerations such as analysing questions, summarizing relevant findings, brainstorming "  \
    "new ideas, verifying the accuracy of the current steps, refining any errors, and "          \
    "revisiting previous steps. In the Solution section, based on various attempts, "            \
    "explorations, and reflections from the Thought section, systematically present the final "  \
    "solution that you deem correct. The Solution section should be logical, accurate, and "     \
    "concise and detail necessary steps needed to reach the conclusion."

/* ---- renderings that several rows share ---- */

#define RENDER_CHATML                                                                    \
    .before = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"}, \
    .after = {"<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"}
#define RENDER_LLAMA_3(system)                                          \
    .bos = true, .trims = {TRIM_BOTH, TRIM_BOTH, TRIM_BOTH},            \
    .before = {"<|start_header_id|>system<|end_header_id|>\n\n" system, \
               "<|start_header_id|>user<|end_header_id|>\n\n",          \
               "<|start_header_id|>assistant<|end_header_id|>\n\n"},    \
    .after = {"<|eot_id|>", "<|eot_id|>", "<|eot_id|>"},                \
    .reply = "<|start_header_id|>assistant<|end_header_id|>\n\n"
#define RENDER_MISTRAL_V3                                                     \
    .alternates = true, .bos = true, .trims = {[CHAT_ASSISTANT] = TRIM_BOTH}, \
    .before = {"", "[INST] ", " "}, .after = {"\n\n", "[/INST]", "\2"}, .reply = ""
#define RENDER_MISTRAL_TEKKEN                                      \
    .alternates = true, .bos = true, .before = {"", "[INST]", ""}, \
    .after = {"\n\n", "[/INST]", "\2"}, .reply = ""
#define RENDER_GEMMA                                                             \
    .alternates = true, .bos = true, .trims = {TRIM_NONE, TRIM_BOTH, TRIM_BOTH}, \
    .before = {"", "<start_of_turn>user\n", "<start_of_turn>model\n"},           \
    .after = {"\n\n", "<end_of_turn>\n", "<end_of_turn>\n"}, .reply = "<start_of_turn>model\n"
#define RENDER_PHI_3                                             \
    .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"}, \
    .after = {"<|end|>\n", "<|end|>\n", "<|end|>\n"}, .reply = "<|assistant|>\n"
#define RENDER_TULU                                                                             \
    .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"}, .after = {"\n", "\n", "\2\n"}, \
    .reply = "<|assistant|>\n"
#define RENDER_GRANITE                                                                           \
    .before = {"<|start_of_role|>system<|end_of_role|>", "<|start_of_role|>user<|end_of_role|>", \
               "<|start_of_role|>assistant<|end_of_role|>"},                                     \
    .after = {"<|end_of_text|>\n", "<|end_of_text|>\n", "<|end_of_text|>\n"},                    \
    .reply = "<|start_of_role|>assistant<|end_of_role|>"
#define RENDER_DEEPSEEK(thoughts, begun)                                               \
    .bos = true, .thought = thoughts, .before = {"", "<｜User｜>", "<｜Assistant｜>"}, \
    .after = {"", "", "<｜end▁of▁sentence｜>"}, .reply = "<｜Assistant｜>" begun

const struct chat_family chat_families[] = {
    {.name = "chatml",
     .signs = {FOR CHATML_TURN "{%endfor%}" CHATML_REPLY},
     .lacks = {"<|im_start|>system"},
     RENDER_CHATML,
     .reply = "<|im_start|>assistant\n"},
    {.name = "qwen1.5",
     .signs = {CHATML_DEFAULT("You are a helpful assistant")},
     RENDER_CHATML,
     .reply = "<|im_start|>assistant\n",
     .default_system = "You are a helpful assistant"},
    {.name = "qwen2",
     .signs = {CHATML_DEFAULT("You are a helpful assistant.")},
     RENDER_CHATML,
     .reply = "<|im_start|>assistant\n",
     .default_system = "You are a helpful assistant."},
    {.name = "qwen2.5",
     .signs = {CHATML_SYSTEM "{%else%}{{'<|im_start|>system\\nYou are Qwen, created by Alibaba "
                             "Cloud. You are a helpful assistant.<|im_end|>\\n'}}{%endif%}",
               CHATML_TURN, CHATML_REPLY "{%endif%}"},
     RENDER_CHATML,
     .reply = "<|im_start|>assistant\n",
     .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {.name = "qwen3",
     .signs = {CHATML_SYSTEM "{%endif%}", "last_query_index",
               "{{'<|im_start|>'+message['role']+'\\n'+", ".split('</think>')[-1].lstrip('\\n')",
               CHATML_REPLY "{%"},
     RENDER_CHATML,
     .thought = THOUGHT_CUT_CLEAN,
     .reply = "<|im_start|>assistant\n"},
    {.name = "smollm2",
     .signs = {CHATML_DEFAULT(SMOLLM_DEFAULT)},
     RENDER_CHATML,
     .reply = "<|im_start|>assistant\n",
     .default_system = SMOLLM_DEFAULT},
    {.name = "smollm3",
     .signs = {"{{'Knowledge Cutoff Date: June 2025\\n'}}{{'Reasoning Mode: '+reasoning_mode",
               SMOLLM_THINKING "\\n\\n'}}{%else%}{{'" SMOLLM_DEFAULT ".\\n\\n'}}{%endif%}"
                               "{{'<|im_end|>\\n'}}",
               "+content.lstrip('\\n')+'<|im_end|>\\n'}}{%else%}"},
     .trims = {TRIM_RIGHT, TRIM_NONE, TRIM_NEWLINES},
     .before = {"<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\n"
                "Reasoning Mode: /think\n\n## Custom Instructions\n\n",
                "<|im_start|>user\n", "<|im_start|>assistant\n"},
     .after = {"\n\n<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"},
     .reply = "<|im_start|>assistant\n",
     .default_system = SMOLLM_THINKING,
     .words = {"/no_think", "/think"},
     .switched = "smollm3-no-think"},
    {.name = "smollm3-no-think",
     .trims = {TRIM_RIGHT, TRIM_NONE, TRIM_NEWLINES},
     .before = {"<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\n"
                "Reasoning Mode: /no_think\n\n## Custom Instructions\n\n",
                "<|im_start|>user\n", "<|im_start|>assistant\n<think>\n\n</think>\n"},
     .after = {"\n\n<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"},
     .reply = "<|im_start|>assistant\n<think>\n\n</think>\n",
     .default_system = SMOLLM_DEFAULT ".",
     .words = {"/no_think", "/think"}},
    {.name = "llama-2",
     .signs = {"{%setcontent='<<SYS>>\\n'+system_message+'\\n<</SYS>>\\n\\n'+message['content']%}"
               "{%else%}{%setcontent=message['content']%}{%endif%}" IF_USER
               "{{bos_token+'[INST] '+content|trim+' [/INST]'}}" IF_ASSISTANT
               "{{' '+content|trim+' '+eos_token}}"},
     .lacks = {"{%setsystem_message='"},
     .system = SYSTEM_IN_FIRST,
     .alternates = true,
     .trims = {TRIM_NONE, TRIM_BOTH, TRIM_BOTH},
     .trims_whole = true,
     .before = {"<<SYS>>\n", "\1[INST] ", " "},
     .after = {"\n<</SYS>>\n\n", " [/INST]", " \2"},
     .reply = ""},
    {.name = "llama-3",
     .signs = {"{%setcontent=" LLAMA_3_TURN "%}{%ifloop.index0==0%}{%setcontent=bos_token+content%}"
               "{%endif%}{{content}}{%endfor%}",
               "{{'<|start_header_id|>assistant<|end_header_id|>\\n\\n'}}"},
     RENDER_LLAMA_3("")},
    {.name = "llama-3.1",
     .signs = {"{%setdate_string='26 Jul 2024'%}",
               "{%setsystem_message=messages[0]['content']|trim%}", LLAMA_3_DATE,
               "{{system_message}}{{'<|eot_id|>'}}", "{{" LLAMA_3_TURN "}}"},
     .lacks = {"strftime_now"},
     RENDER_LLAMA_3("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"),
     .default_system = ""},
    {.name = "llama-3.2",
     .signs = {"{%setdate_string=strftime_now('%d %b %Y')%}",
               "{%setsystem_message=messages[0]['content']|trim%}", LLAMA_3_DATE,
               "{{system_message}}{{'<|eot_id|>'}}", "{{" LLAMA_3_TURN "}}"},
     RENDER_LLAMA_3("Cutting Knowledge Date: December 2023\nToday Date: \3\n\n"),
     .default_system = "",
     .date = "%d %b %Y"},
    {.name = "mistral-v0.1",
     .signs = {IF_USER "{{'[INST] '+message['content']+' [/INST]'}}" IF_ASSISTANT
                       "{{message['content']+eos_token+' '}}"},
     .lacks = {"'system'"},
     .system = SYSTEM_REFUSED,
     .alternates = true,
     .bos = true,
     .before = {"", "[INST] ", ""},
     .after = {"", " [/INST]", "\2 "},
     .reply = ""},
    {.name = "mistral-v0.2",
     .signs = {IF_USER "{{'[INST] '+message['content']+' [/INST]'}}" IF_ASSISTANT
                       "{{message['content']+eos_token}}"},
     .lacks = {"'system'"},
     .system = SYSTEM_REFUSED,
     .alternates = true,
     .bos = true,
     .before = {"", "[INST] ", ""},
     .after = {"", " [/INST]", "\2"},
     .reply = ""},
    {.name = "mistral-v1",
     .signs = {MISTRAL_SYSTEM,
               "{%ifloop.firstandsystem_messageisdefined%}{{' [INST] '+system_message+'\\n\\n'+"
               "message['content']+' [/INST]'}}{%else%}{{' [INST] '+message['content']+' [/INST]'}}"
               "{%endif%}" IF_ASSISTANT "{{' '+message['content']+eos_token}}"},
     .system = SYSTEM_IN_FIRST,
     .alternates = true,
     .bos = true,
     .before = {"", " [INST] ", " "},
     .after = {"\n\n", " [/INST]", "\2"},
     .reply = ""},
    {.name = "mistral-v3",
     .signs = {MISTRAL_SYSTEM,
               "{%ifloop.lastandsystem_messageisdefined%}{{'[INST] '+system_message+'\\n\\n'+"
               "message['content']+'[/INST]'}}{%else%}{{'[INST] '+message['content']+'[/INST]'}}"
               "{%endif%}",
               IF_ASSISTANT "{{' '+message['content']|trim+eos_token}}"},
     .system = SYSTEM_IN_LAST,
     RENDER_MISTRAL_V3},
    {.name = "mistral-v3-tekken",
     .signs = {MISTRAL_SYSTEM,
               "{%ifloop.lastandsystem_messageisdefined%}{{'[INST]'+system_message+'\\n\\n'+"
               "message['content']+'[/INST]'}}{%else%}{{'[INST]'+message['content']+'[/INST]'}}"
               "{%endif%}",
               IF_ASSISTANT "{{message['content']+eos_token}}"},
     .system = SYSTEM_IN_LAST,
     RENDER_MISTRAL_TEKKEN},
    {.name = "mistral-v7",
     .signs = {FOR IF_USER
               "{{'[INST] '+message['content']+'[/INST]'}}"
               "{%elifmessage['role']=='system'%}"
               "{{'[SYSTEM_PROMPT] '+message['content']+'[/SYSTEM_PROMPT]'}}" IF_ASSISTANT
               "{{' '+message['content']+eos_token}}"},
     .bos = true,
     .before = {"[SYSTEM_PROMPT] ", "[INST] ", " "},
     .after = {"[/SYSTEM_PROMPT]", "[/INST]", "\2"},
     .reply = ""},
    {.name = "gemma",
     .signs =
         {"{%ifmessages[0]['role']=='system'%}{{raise_exception('System role not supported')}}",
          GEMMA_START "message['content']|trim+'<end_of_turn>\\n'}}", GEMMA_REPLY},
     .system = SYSTEM_REFUSED,
     RENDER_GEMMA},
    {.name = "gemma-3",
     .signs = {"{%setfirst_user_prefix=messages[0]['content']+'\\n\\n'%}",
               GEMMA_START "(first_user_prefixifloop.firstelse'')}}", "{{message['content']|trim}}",
               "{{'<end_of_turn>\\n'}}", GEMMA_REPLY},
     .system = SYSTEM_IN_FIRST,
     RENDER_GEMMA},
    {.name = "phi-3",
     .signs = {FOR "{%ifmessage['role']=='system'%}" PHI_TURN("system"), PHI_TURN("user"),
               PHI_TURN("assistant") "{%endif%}{%endfor%}", "{{'<|assistant|>\\n'}}"},
     RENDER_PHI_3},
    {.name = "phi-3",
     .signs = {FOR "{{'<|'+message['role']+'|>\\n'+message['content']+'<|end|>\\n'}}{%endfor%}",
               "{{'<|assistant|>\\n'}}"},
     RENDER_PHI_3},
    {.name = "phi-3.5",
     .signs = {FOR "{%ifmessage['role']=='system'andmessage['content']%}" PHI_TURN("system"),
               PHI_TURN("user"), PHI_TURN("assistant") "{%endif%}{%endfor%}",
               "{{'<|assistant|>\\n'}}"},
     .system = SYSTEM_IF_SAID,
     RENDER_PHI_3},
    {.name = "phi-3-no-system",
     .signs = {FOR "{%if(message['role']=='user')%}"
                   "{{'<|user|>\\n'+message['content']+'<|end|>\\n<|assistant|>\\n'}}"
                   "{%elif(message['role']=='assistant')%}"
                   "{{message['content']+'<|end|>\\n'}}{%endif%}{%endfor%}"},
     .system = SYSTEM_REFUSED,
     .before = {"", "<|user|>\n", ""},
     .after = {"", "<|end|>\n<|assistant|>\n", "<|end|>\n"},
     .reply = ""},
    {.name = "phi-4",
     .signs = {"{{'<|im_start|>system<|im_sep|>'+message['content']+'<|im_end|>'}}",
               "{{'<|im_start|>user<|im_sep|>'+message['content']+"
               "'<|im_end|><|im_start|>assistant<|im_sep|>'}}",
               "{{message['content']+'<|im_end|>'}}{%endif%}{%endfor%}"},
     .before = {"<|im_start|>system<|im_sep|>", "<|im_start|>user<|im_sep|>", ""},
     .after = {"<|im_end|>", "<|im_end|><|im_start|>assistant<|im_sep|>", "<|im_end|>"},
     .reply = ""},
    {.name = "zephyr",
     .signs = {FOR IF_USER "{{'<|user|>\\n'+message['content']+eos_token}}\\n",
               "{{'<|system|>\\n'+message['content']+eos_token}}\\n",
               "{{'<|assistant|>\\n'+message['content']+eos_token}}\\n{%endif%}"
               "{%ifloop.lastandadd_generation_prompt%}{{'<|assistant|>'}}\\n"},
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .after = {"\2\n", "\2\n", "\2\n"},
     .reply = "<|assistant|>\n"},
    {.name = "tulu-2",
     .signs = {FOR IF_USER "{{'<|user|>\\n'+message['content']}}\\n" IF_ASSISTANT
                           "{{'<|assistant|>\\n'+message['content']+eos_token}}\\n{%endif%}"
                           "{%ifloop.lastandadd_generation_prompt%}{{'<|assistant|>'}}\\n"},
     .system = SYSTEM_REFUSED,
     RENDER_TULU},
    {.name = "falcon-3",
     .signs = {"{{'<|system|>\\n'+message['content']+'\\n'}}",
               "{{'<|user|>\\n'+message['content']+'\\n'}}" IF_ASSISTANT
               "{%ifnotloop.last%}{{'<|assistant|>\\n'+message['content']+eos_token+'\\n'}}",
               "{%ifloop.lastandadd_generation_prompt%}{{'<|assistant|>\\n'}}"},
     RENDER_TULU},
    {.name = "granite-3.0",
     .signs = {GRANITE_TURN("system"), GRANITE_TURN("user"), GRANITE_TURN("assistant"),
               "{%ifloop.lastandadd_generation_prompt%}"
               "{{'<|start_of_role|>assistant<|end_of_role|>'}}"},
     RENDER_GRANITE},
    {.name = "granite-3.1",
     .signs = {"{%setsystem_message='Knowledge Cutoff Date: April 2024.\\nToday's Date: '"
               "+strftime_now('%B %d, %Y')+'.\\nYou are Granite, developed by IBM.'%}",
               GRANITE_HELPFUL, GRANITE_SYSTEM,
               "{{'<|start_of_role|>'+message['role']+'<|end_of_role|>'",
               "<|start_of_role|>assistant'}}"},
     RENDER_GRANITE,
     .default_system = "Knowledge Cutoff Date: April 2024.\nToday's Date: \3.\nYou are Granite, "
                       "developed by IBM. You are a helpful AI assistant.",
     .date = "%B %d, %Y"},
    {.name = "granite-3.3",
     .signs = {"{%setsystem_message='Knowledge Cutoff Date: April 2024. Today's Date: '"
               "+strftime_now('%B %d, %Y')+'. You are Granite, developed by IBM.'%}",
               GRANITE_HELPFUL, GRANITE_SYSTEM,
               "{{'<|start_of_role|>'+message['role']+'<|end_of_role|>'",
               "<|start_of_role|>assistant'}}"},
     RENDER_GRANITE,
     .default_system = "Knowledge Cutoff Date: April 2024. Today's Date: \3. You are Granite, "
                       "developed by IBM. You are a helpful AI assistant.",
     .date = "%B %d, %Y"},
    {.name = "deepseek-v2",
     .signs = {FOR IF_USER "{{'User: '+message['content']+'\\n\\n'}}" IF_ASSISTANT
                           "{{'Assistant: '+message['content']+eos_token}}"
                           "{%elifmessage['role']=='system'%}{{message['content']+'\\n\\n'}}"
                           "{%endif%}{%endfor%}{%ifadd_generation_prompt%}{{'Assistant:'}}"},
     .bos = true,
     .before = {"", "User: ", "Assistant: "},
     .after = {"\n\n", "\n\n", "\2"},
     .reply = "Assistant:"},
    {.name = "deepseek-v3",
     .signs = {DEEPSEEK_START, DEEPSEEK_USER,
               "{%else%}{{'<｜Assistant｜>'+message['content']+'<｜end▁of▁sentence｜>'}}{%endif%}",
               DEEPSEEK_REPLY("")},
     RENDER_DEEPSEEK(THOUGHT_KEPT, "")},
    {.name = "deepseek-v3",
     .signs = {DEEPSEEK_START, DEEPSEEK_USER,
               "{%setcontent=message['content']%}"
               "{{'<｜Assistant｜>'+content+'<｜end▁of▁sentence｜>'}}",
               DEEPSEEK_REPLY("")},
     RENDER_DEEPSEEK(THOUGHT_KEPT, "")},
    {.name = "deepseek-r1-first",
     .signs = {DEEPSEEK_START, DEEPSEEK_USER, DEEPSEEK_CUT, DEEPSEEK_REPLY("")},
     RENDER_DEEPSEEK(THOUGHT_CUT, "")},
    {.name = "deepseek-r1",
     .signs = {DEEPSEEK_START, DEEPSEEK_USER, DEEPSEEK_CUT, DEEPSEEK_REPLY("<think>\\n")},
     RENDER_DEEPSEEK(THOUGHT_CUT, "<think>\n")},
    {.name = "deepseek-coder",
     .signs = {"{%ifnotns.found%}{{'" CODER_DEFAULT "\\n'}}{%endif%}",
               "{{message['content']}}{%else%}" IF_USER
               "{{'### Instruction:\\n'+message['content']+'\\n'}}{%else%}"
               "{{'### Response:\\n'+message['content']+'\\n<|EOT|>\\n'}}",
               "{%ifadd_generation_prompt%}{{'### Response:'}}\\n{%endif%}"},
     .bos = true,
     .before = {"", "### Instruction:\n", "### Response:\n"},
     .after = {"", "\n", "\n<|EOT|>\n"},
     .reply = "### Response:\n",
     .default_system = CODER_DEFAULT "\n"},
    {.name = "command-r",
     .signs = {"{%eliffalse==true%}",
               "{{'<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>'+system_message+"
               "'<|END_OF_TURN_TOKEN|>'}}",
               "{{'<|START_OF_TURN_TOKEN|><|USER_TOKEN|>'+content|trim+'<|END_OF_TURN_TOKEN|>'}}",
               "{{'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'+content|trim+"
               "'<|END_OF_TURN_TOKEN|>'}}",
               "{%ifadd_generation_prompt%}{{'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'}}"},
     .alternates = true,
     .bos = true,
     .trims = {TRIM_NONE, TRIM_BOTH, TRIM_BOTH},
     .before = {"<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
                "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
     .after = {"<|END_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     .reply = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
    {.name = "vicuna",
     .signs = {"{%setsystem_message='" VICUNA_DEFAULT "'%}",
               "{%ifloop.index0==0%}{{system_message}}{%endif%}" IF_USER
               "{{' USER: '+message['content']|trim}}" IF_ASSISTANT
               "{{' ASSISTANT: '+message['content']|trim+eos_token}}",
               "{%ifadd_generation_prompt%}{{' ASSISTANT:'}}"},
     .alternates = true,
     .trims = {TRIM_NONE, TRIM_BOTH, TRIM_BOTH},
     .before = {"", " USER: ", " ASSISTANT: "},
     .after = {"", "", "\2"},
     .reply = " ASSISTANT:",
     .default_system = VICUNA_DEFAULT},
    {.name = "openchat",
     .signs = {FOR "{{'GPT4 Correct '+message['role'].title()+': '+message['content']+"
                   "'<|end_of_turn|>'}}{%endfor%}",
               "{{'GPT4 Correct Assistant:'}}"},
     .bos = true,
     .before = {"GPT4 Correct System: ", "GPT4 Correct User: ", "GPT4 Correct Assistant: "},
     .after = {"<|end_of_turn|>", "<|end_of_turn|>", "<|end_of_turn|>"},
     .reply = "GPT4 Correct Assistant:"},
};
const size_t n_chat_families = sizeof chat_families / sizeof chat_families[0];
