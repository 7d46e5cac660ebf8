/*
 * PCRE2 code found by the address of the pattern it was made from.  A match has
 * a bounded number of steps, so that no body can hold a thread.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "rest_pattern.h"
#include "resource.h"

#include <pcre2.h>
#include <stdlib.h>

#define PATTERN_STEPS  100000

struct pattern {
    const char  *text;
    pcre2_code  *code;
};

struct patterns {
    struct pattern         *list;            /* sorted by address of text */
    size_t                  n;
    pcre2_match_context    *context;
};

static int
pattern_compare(const void *a, const void *b)
{
    const struct pattern  *x = a, *y = b;

    return (x->text > y->text) - (x->text < y->text);
}

void
patterns_free(struct patterns *patterns)
{
    if (patterns == NULL) {
        return;
    }

    for (size_t i = 0; i < patterns->n; i++) {
        pcre2_code_free(patterns->list[i].code);
    }

    pcre2_match_context_free(patterns->context);
    free(patterns->list);
    free(patterns);
}

static bool
patterns_add(struct patterns *patterns, const char *text, struct error *err)
{
    struct pattern  *list;
    PCRE2_SIZE       at;
    int              code;

    for (size_t i = 0; i < patterns->n; i++) {
        if (patterns->list[i].text == text) {
            return true;
        }
    }

    list = reallocarray(patterns->list, patterns->n + 1, sizeof(*list));
    if (list == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    patterns->list = list;
    list[patterns->n] = (struct pattern) { text,
        pcre2_compile((PCRE2_SPTR) text, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED
                      | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL) };

    if (list[patterns->n].code == NULL) {
        return error_set(err, ERR_INTERNAL, "pattern \"%s\" does not compile at %zu",
                         text, at);
    }

    patterns->n++;

    return true;
}

static bool
patterns_add_fields(struct patterns *patterns, const struct field *fields,
    struct error *err)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if ((f->pattern && !patterns_add(patterns, f->pattern, err))
            || !patterns_add_fields(patterns, f->of, err))
        {
            return false;
        }
    }

    return true;
}

struct patterns *
patterns_new(const struct route *routes, struct error *err)
{
    struct patterns        *patterns = calloc(1, sizeof(*patterns));
    const struct resource  *res;

    if (patterns == NULL
        || (patterns->context = pcre2_match_context_create(NULL)) == NULL)
    {
        free(patterns);
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    pcre2_set_match_limit(patterns->context, PATTERN_STEPS);

    for (const struct route *route = routes; route->path; route++) {
        res = route->data;

        if (res && !patterns_add_fields(patterns, res->fields, err)) {
            patterns_free(patterns);
            return NULL;
        }
    }

    if (patterns->n) {
        qsort(patterns->list, patterns->n, sizeof(*patterns->list),
              pattern_compare);
    }

    return patterns;
}

bool
pattern_matches(const struct patterns *patterns, const char *pattern,
    const char *text, size_t len)
{
    struct pattern         key = { pattern, NULL }, *found;
    pcre2_match_data      *match;
    int                    rc;

    found = bsearch(&key, patterns->list, patterns->n, sizeof(key),
                    pattern_compare);
    if (found == NULL) {
        return false;
    }

    match = pcre2_match_data_create(1, NULL);
    if (match == NULL) {
        return false;
    }

    rc = pcre2_match(found->code, (PCRE2_SPTR) text, len, 0, 0, match,
                     patterns->context);
    pcre2_match_data_free(match);

    return rc >= 0;
}
