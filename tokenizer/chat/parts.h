/* parts: what rows of the table of families have in common, written once: parts of the signs that
 * templates are recognised by, and renderings. */
#ifndef LONGHAND_TOKENIZER_CHAT_PARTS_H
#define LONGHAND_TOKENIZER_CHAT_PARTS_H

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
#define RENDER_SMOLLM_3(facts, mode, begun, closed)                                          \
    .trims = {TRIM_RIGHT, TRIM_NONE, TRIM_NEWLINES},                                         \
    .before = {"<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\n" facts \
               "Reasoning Mode: " mode "\n\n## Custom Instructions\n\n",                     \
               "<|im_start|>user\n", "<|im_start|>assistant\n" begun},                       \
    .after = {"\n\n" closed, "<|im_end|>\n", "<|im_end|>\n"},                                \
    .reply = "<|im_start|>assistant\n" begun, .words = {"/no_think", "/think"}
#define NO_THOUGHT "<think>\n\n</think>\n"

#endif
