/* Answers for people and for scripts. */
#include "cli.h"

#include "cleanup.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX  12

/* Control characters could move a terminal's cursor or rewrite its lines. */
static void
hide_controls(char *text)
{
    for (char *p = text; p && *p; p++) {
        if ((unsigned char) *p < ' ' || *p == 0x7f) {
            *p = '?';
        }
    }
}

/* What a terminal shows of a value; free() it. */
static char *
show(const json_t *value)
{
    char        *text;
    const char  *string = json_string_value(value);

    if (string) {
        text = strdup(string);

    } else if (!value || json_is_null(value)) {
        text = strdup("-");

    } else {
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    }

    hide_controls(text);

    return text;
}

/* Characters, not bytes (RFC 3629: continuation bytes are 10xxxxxx). */
static int
width(const char *text)
{
    int  n = 0;

    for ( ; *text; text++) {
        n += (*text & 0xc0) != 0x80;
    }

    return n;
}

static void
cell(const char *text, int want, bool last)
{
    printf("%s%*s", text, last ? 0 : want - width(text) + 2, "");
}

static void
measure(const struct cli_column *columns, const json_t *rows, int *widths)
{
    size_t   i;
    json_t  *row;

    for (int c = 0; columns[c].title; c++) {
        widths[c] = width(columns[c].title);

        json_array_foreach(rows, i, row) {
            CLEANUP(mem) char  *text = show(json_object_get(row,
                                                            columns[c].field));

            if (text && width(text) > widths[c]) {
                widths[c] = width(text);
            }
        }
    }
}

static void
print_table(const struct cli_column *columns, const json_t *rows)
{
    int      widths[COLUMNS_MAX];
    size_t   i;
    json_t  *row;

    measure(columns, rows, widths);

    for (int c = 0; columns[c].title; c++) {
        cell(columns[c].title, widths[c], !columns[c + 1].title);
    }

    putchar('\n');

    json_array_foreach(rows, i, row) {
        for (int c = 0; columns[c].title; c++) {
            CLEANUP(mem) char  *text = show(json_object_get(row,
                                                            columns[c].field));

            cell(text ? text : "?", widths[c], !columns[c + 1].title);
        }

        putchar('\n');
    }
}

static void
print_object(const json_t *object)
{
    int          longest = 0;
    json_t      *value;
    const char  *name;

    json_object_foreach((json_t *) object, name, value) {
        if (width(name) > longest) {
            longest = width(name);
        }
    }

    json_object_foreach((json_t *) object, name, value) {
        CLEANUP(mem) char  *text = show(value);

        cell(name, longest, false);
        printf("%s\n", text ? text : "?");
    }
}

void
cli_print(const struct cli *cli, const json_t *answer)
{
    size_t   shown;
    json_t  *rows = json_object_get(answer, "data");

    if (cli->json) {
        json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
        return;
    }

    if (!cli->command->columns) {
        print_object(answer);
        return;
    }

    print_table(cli->command->columns, rows);
    shown = json_array_size(rows);

    fflush(stdout);

    if ((json_int_t) shown < json_integer_value(json_object_get(answer,
                                                                "total")))
    {
        fprintf(stderr, "%zu of %lld shown: --page, --per-page\n", shown,
                (long long) json_integer_value(json_object_get(answer,
                                                               "total")));
    }
}

enum cli_exit
cli_fail(const struct error *err)
{
    char  detail[sizeof(err->detail)];

    memcpy(detail, err->detail, sizeof(detail));
    hide_controls(detail);
    fprintf(stderr, "certctl: %s\n", detail);
    return CLI_FAILED;
}
