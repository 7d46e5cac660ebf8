/* What a table of fields says: kinds, defaults, times, patterns. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "field.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PATTERN_STEPS  100000

const struct field *
field_find(const struct field *fields, const char *name)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }

    return NULL;
}

const struct field_kind *
field_kind_find(const struct field_kind *const *kinds, const char *name)
{
    for ( ; *kinds; kinds++) {
        if (strcasecmp((*kinds)->name, name) == 0) {
            return *kinds;
        }

        for (const char *const *a = (*kinds)->aliases; a && *a; a++) {
            if (strcasecmp(*a, name) == 0) {
                return *kinds;
            }
        }
    }

    return NULL;
}

const struct field_kind *
field_kind_of(const struct field_kind *const *kinds, const json_t *object,
    const json_t *current)
{
    const char  *type = json_string_value(json_object_get(object, "type"));

    if (type == NULL) {
        type = json_string_value(json_object_get(current, "type"));
    }

    return type ? field_kind_find(kinds, type) : kinds[0];
}

json_t *
field_default(const struct field *f)
{
    json_t  *value = f->init ? json_loads(f->init, JSON_DECODE_ANY, NULL) : NULL;

    return value ? value : json_null();
}

json_t *
field_aliased(const struct field *f, json_t *value)
{
    return f->factor && json_is_integer(value)
           ? json_integer(json_integer_value(value) * f->factor) : json_incref(value);
}

/* "a b" as "a, b". */
static void
words_print(const char *words, char *out, size_t size)
{
    size_t  n = 0;

    for ( ; *words && n + 3 < size; words++) {
        if (*words == ' ') {
            out[n++] = ',';
        }
        out[n++] = *words;
    }

    out[n] = '\0';
}

void
field_rule(const struct field *f, char *out, size_t size)
{
    *out = '\0';

    if (f->allowed) {
        words_print(f->allowed, out, size);

    } else if (f->type == T_BOOL) {
        snprintf(out, size, "true or false");

    } else if (f->type == T_INT && (f->min || f->max)) {
        snprintf(out, size, "%lld to %lld", f->min, f->max);

    } else if (f->type == T_TEXT && f->min && f->max) {
        snprintf(out, size, "%lld to %lld bytes", f->min, f->max);

    } else if (f->type == T_TEXT && f->max) {
        snprintf(out, size, "at most %lld bytes", f->max);
    }
}

static bool
two_digits(const char *p, int min, int max)
{
    int  n = (p[0] - '0') * 10 + (p[1] - '0');

    return p[0] >= '0' && p[0] <= '9' && p[1] >= '0' && p[1] <= '9'
           && n >= min && n <= max;
}

/* Of the month that "2024-02-29" names. */
static int
days_in_month(const char *p)
{
    static const int  days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int               year = (p[0] - '0') * 1000 + (p[1] - '0') * 100 + (p[2] - '0') * 10
                             + p[3] - '0';
    int               month = (p[5] - '0') * 10 + p[6] - '0';
    bool              leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

bool
field_is_time(const char *p)
{
    size_t  digits;

    if (strlen(p) < 20 || !two_digits(p, 0, 99) || !two_digits(p + 2, 0, 99)
        || p[4] != '-' || !two_digits(p + 5, 1, 12)
        || p[7] != '-' || !two_digits(p + 8, 1, 31)
        || (p[10] != 'T' && p[10] != 't') || !two_digits(p + 11, 0, 23)
        || p[13] != ':' || !two_digits(p + 14, 0, 59)
        || p[16] != ':' || !two_digits(p + 17, 0, 59)
        || memcmp(p, "0000", 4) == 0 || !two_digits(p + 8, 1, days_in_month(p)))
    {
        return false;
    }

    p += 19;
    if (*p == '.') {
        digits = strspn(p + 1, "0123456789");
        if (digits == 0 || digits > 9) {
            return false;
        }
        p += 1 + digits;
    }

    if (*p == 'Z' || *p == 'z') {
        return p[1] == '\0';
    }

    return (*p == '+' || *p == '-') && strlen(p) == 6
           && two_digits(p + 1, 0, 14) && p[3] == ':' && two_digits(p + 4, 0, 59);
}

static pcre2_code *
pattern_compile(const char *pattern, int *code, PCRE2_SIZE *at)
{
    return pcre2_compile((PCRE2_SPTR) pattern, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED
                         | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, code, at, NULL);
}

/* Compiled at each use: it takes some microseconds, a request some hundred. */
enum field_match
field_match(const char *pattern, const char *text, size_t len)
{
    PCRE2_SIZE            at;
    int                   code, rc = PCRE2_ERROR_NOMEMORY;
    pcre2_match_data     *match = pcre2_match_data_create(1, NULL);
    pcre2_match_context  *context = pcre2_match_context_create(NULL);
    pcre2_code           *compiled = pattern_compile(pattern, &code, &at);

    if (compiled && match && context) {
        pcre2_set_match_limit(context, PATTERN_STEPS);
        rc = pcre2_match(compiled, (PCRE2_SPTR) text, len, 0, 0, match, context);
    }

    pcre2_code_free(compiled);
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);

    return rc >= 0 ? FIELD_MATCHES
           : rc == PCRE2_ERROR_NOMATCH ? FIELD_DIFFERS : FIELD_UNDECIDED;
}

bool
field_matches(const char *pattern, const char *text, size_t len)
{
    return field_match(pattern, text, len) == FIELD_MATCHES;
}

bool
field_check_pattern(const char *text, struct error *err)
{
    PCRE2_UCHAR   why[120] = "";
    PCRE2_SIZE    at = 0;
    int           code = 0;
    pcre2_code   *compiled = pattern_compile(text, &code, &at);

    if (compiled == NULL) {
        pcre2_get_error_message(code, why, sizeof(why));
        return error_set(err, ERR_INVALID, "not a regular expression of PCRE2: %s, at "
                         "character %zu", (const char *) why, (size_t) at);
    }

    pcre2_code_free(compiled);

    return true;
}

/* Letters that show nothing are in no category of their own. */
#define UNSEEN  "\\x{115f}\\x{1160}\\x{2800}\\x{3164}\\x{ffa0}"

bool
field_check_label(const char *text, struct error *err)
{
    static const char  hidden[] = "(?s).*[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}" UNSEEN "].*";
    static const char  padded[] = "(?s)\\p{Z}.*|.*\\p{Z}";
    size_t             len = strlen(text);

    if (field_match(hidden, text, len) != FIELD_DIFFERS) {
        return error_set(err, ERR_INVALID, "control characters, direction marks and "
                         "characters that are not seen are not allowed");
    }

    return field_match(padded, text, len) == FIELD_DIFFERS
           || error_set(err, ERR_INVALID, "it must neither begin nor end with a blank");
}
