/* test_canonical: one spelling of what templates write in many. */
#include "tokenizer/chat/canonical.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"

/* What stands between tags is what jinja2 with trim_blocks and lstrip_blocks leaves. */
static const struct {
    const char *template, *canonical;
} cases[] = {
    {"", ""},
    {"a b\n", "a b"},
    {"a\n\n", "a\\n"},
    {"{% for  m in ms %}{{ m }}{% endfor %}", "{%forminms%}{{m}}{%endfor%}"},
    {"{%- if x -%}\n  {{- y -}}\n{%- endif -%}", "{%ifx%}{{y}}{%endif%}"},
    {"{% if x %}\n{{ y }}\n{% endif %}\n", "{%ifx%}{{y}}\\n{%endif%}"},
    {"  {% if x %}  {{ y }}  {% endif %}", "{%ifx%}  {{y}}  {%endif%}"},
    {"{% if x %}\n  {% set y %}a  {% set z %}", "{%ifx%}{%sety%}a  {%setz%}"},
    {"a {#- b -#} c{# d #}\ne", "ace"},
    {"  {%+ if x %}", "  {%ifx%}"},
    {"{{ \"it's\" + 'a \"b\"' + '\\n' + c + '\nd' }}", "{{'it'sa \"b\"\\n'+c+'\\nd'}}"},
    {"{{ 'it\\'s' }}{{ '\\\\n' }}", "{{'it's'}}{{'\\\\n'}}"},
    {"{{ m.role }}{{ m.roles }}{{ m.content.strip() }}{{ m.strip() | trim }}",
     "{{m['role']}}{{m.roles}}{{m['content']|trim}}{{m|trim|trim}}"},
    {"{{ a - b }}{{ a -}} c", "{{a-b}}{{a}}c"},
    {"{{ '}}' }}", "{{'}}'}}"},
    {"{{ a", "{{a}}"},
    {"{%", "{%%}"},
    {"{# a", ""},
    {"{{ 'a", "{{'a'}}"},
    {"{{ 'a\\", "{{'a\\'}}"},
};

START_TEST(spellings_become_one)
{
    struct error err;
    char *canonical;
    struct text text = {cases[_i].template, strlen(cases[_i].template)};
    ck_assert_int_eq(canonical_make(&canonical, text, &err), 0);
    ck_assert_str_eq(canonical, cases[_i].canonical);
    free(canonical);
}
END_TEST

START_TEST(any_bytes_are_a_template)
{
    static const char alphabet[] = "{}%#-+'\"\\\n .roletpi()n";
    struct error err;
    unsigned state = 1;
    for (int round = 0; round < 20000; round++) {
        size_t length = (size_t)(round % 24);
        char *canonical, *bytes = malloc(length + !length);
        ck_assert_ptr_nonnull(bytes);
        for (size_t i = 0; i < length; i++) {
            state = state * 1103515245u + 12345u;
            bytes[i] = alphabet[(state >> 16) % (sizeof alphabet)]; /* NUL included */
        }
        ck_assert_int_eq(canonical_make(&canonical, (struct text){bytes, length}, &err), 0);
        ck_assert_uint_le(strlen(canonical), 2 * length + 7);
        free(canonical);
        free(bytes);
    }
}
END_TEST

Suite *canonical_suite(void)
{
    Suite *suite = suite_create("canonical");
    TCase *tcase = tcase_create("canonical");
    tcase_add_loop_test(tcase, spellings_become_one, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(tcase, any_bytes_are_a_template);
    suite_add_tcase(suite, tcase);
    return suite;
}
