/*
 * Reads the configuration: each place gives texts, a text becomes the value of
 * its field, the field table checks it.  To add a key: 1. a member of struct
 * conf; 2. a row in conf_fields.c; 3. make docs.
 */
#include "conf.h"

#include "cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

static const struct field *
conf_find(const char *name, size_t len)
{
    for (const struct field *f = conf_fields; f->name; f++) {
        if (strlen(f->name) == len && strncmp(f->name, name, len) == 0) {
            return f;
        }
    }

    return NULL;
}

/* What no field of its type can be stays a string, which the check refuses. */
static json_t *
conf_value(const struct field *f, const char *text)
{
    static const char *const  words[][2] = {
        { "off", "on" }, { "false", "true" }, { "no", "yes" }, { "0", "1" }
    };
    char       *end;
    long long   n;

    if (f->type == T_INT) {
        errno = 0;
        n = strtoll(text, &end, 10);
        return errno || end == text || *end ? json_string(text) : json_integer(n);
    }

    for (size_t i = 0; f->type == T_BOOL && i < sizeof(words) / sizeof(words[0]); i++) {
        for (int on = 0; on < 2; on++) {
            if (strcmp(text, words[i][on]) == 0) {
                return json_boolean(on);
            }
        }
    }

    return json_string(text);
}

static bool
conf_set(json_t *values, const struct field *f, const char *text,
    const char *where, struct error *err)
{
    CLEANUP(json_ref) json_t  *one = json_object(), *faults = json_array();
    json_t                    *value = conf_value(f, text);

    if (value == NULL) {
        return error_set(err, ERR_INVALID, "%s: %s must be UTF-8", where, f->name);
    }

    json_object_set_new(one, f->name, value);

    if (f->type == T_BOOL && !json_is_boolean(value)) {
        return error_set(err, ERR_INVALID, "%s: %s must be on or off", where, f->name);
    }

    if (!field_check(conf_fields, one, NULL, FIELD_MERGE, faults)) {
        field_error(faults, err);
        return error_prefix(err, "%s", where);
    }

    return json_object_update(values, one) == 0
           || error_set(err, ERR_INTERNAL, "out of memory");
}

static char *
trim(char *text)
{
    char  *end = text + strlen(text);

    while (end > text && isspace((unsigned char) end[-1])) {
        *--end = '\0';
    }

    return text + strspn(text, " \t");
}

/* "key = value" lines; "#" begins a comment line. */
static bool
conf_read_line(json_t *values, char *line, const char *where, struct error *err)
{
    const struct field  *f;
    char                *text = trim(line), *eq = strchr(text, '=');

    if (*text == '\0' || *text == '#') {
        return true;
    }

    if (eq == NULL) {
        return error_set(err, ERR_INVALID, "%s: a line is \"key = value\"", where);
    }

    *eq = '\0';
    text = trim(text);
    f = conf_find(text, strlen(text));

    if (f == NULL) {
        return error_set(err, ERR_INVALID, "%s: unknown key \"%.60s\": "
                         "certctld --help lists the keys", where, text);
    }

    return conf_set(values, f, trim(eq + 1), where, err);
}

static bool
conf_read_file(json_t *values, const char *path, struct error *err)
{
    FILE               *file = fopen(path, "re");
    CLEANUP(mem) char  *line = NULL;
    char                where[200], *text;
    size_t              size = 0;
    ssize_t             len;
    int                 n = 0;
    bool                ok = true;

    if (file == NULL) {
        return error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    }

    while (ok && (len = getline(&line, &size, file)) >= 0) {
        snprintf(where, sizeof(where), "%.180s:%d", path, ++n);

        /* editors put a byte order mark in front (RFC 3629 6) */
        text = n == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0 ? line + 3 : line;
        ok = strlen(line) == (size_t) len
             ? conf_read_line(values, text, where, err)
             : error_set(err, ERR_INVALID, "%s: the line has a NUL byte", where);
    }

    if (ok && ferror(file)) {
        ok = error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    }

    fclose(file);

    return ok;
}

static bool
conf_read_env(json_t *values, struct error *err)
{
    char         name[80] = "CERTCTL_", where[100];
    const char  *value;
    size_t       i;

    for (const struct field *f = conf_fields; f->name; f++) {
        for (i = 0; i <= strlen(f->name); i++) {
            name[8 + i] = toupper((unsigned char) f->name[i]);
        }

        snprintf(where, sizeof(where), "environment %s", name);
        value = getenv(name);
        if (value && !conf_set(values, f, value, where, err)) {
            return false;
        }
    }

    return true;
}

/* "--job-threads" or "--job-threads=4" -> its row; *value points behind "=". */
static const struct field *
conf_flag(const char *arg, const char **value)
{
    char    name[80];
    size_t  len = strcspn(arg + 2, "="), i;

    if (len >= sizeof(name)) {
        return NULL;
    }

    for (i = 0; i < len; i++) {
        name[i] = arg[2 + i] == '-' ? '_' : arg[2 + i];
    }

    *value = arg[2 + len] ? arg + 3 + len : NULL;

    return conf_find(name, len);
}

/* Applies flags, or only finds --config (values NULL): flags win over the file. */
static bool
conf_read_flags(json_t *values, int argc, char **argv, const char **file,
    bool *test, struct error *err)
{
    const struct field  *f;
    const char          *value;

    for (int i = 1; i < argc; i++) {

        if (strcmp(argv[i], "-T") == 0) {
            *test = true;
            continue;
        }

        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            *file = argv[++i];
            continue;
        }

        f = strncmp(argv[i], "--", 2) == 0 ? conf_flag(argv[i], &value) : NULL;

        if (f == NULL) {
            return error_set(err, ERR_INVALID, "unknown argument \"%.60s\": see --help",
                             argv[i]);
        }

        if (f->type == T_BOOL && value == NULL) {
            value = "on";
        } else if (value == NULL && i + 1 < argc) {
            value = argv[++i];
        }

        if (value == NULL) {
            return error_set(err, ERR_INVALID, "%.60s needs a value", argv[i]);
        }

        if (values && !conf_set(values, f, value, "command line", err)) {
            return false;
        }
    }

    return true;
}

static void *
conf_member(const struct conf *conf, const struct field *f)
{
    return (char *) conf + f->offset;
}

/* The value that was set, or the default; what it must have is there. */
static bool
conf_store(struct conf *conf, json_t *values, struct error *err)
{
    CLEANUP(json_ref) json_t  *faults = json_array();
    json_t                    *value;
    const char                *text;
    char                      *copy;

    if (!field_check(conf_fields, values, NULL, FIELD_CREATE, faults)) {
        field_error(faults, err);
        return error_set(err, ERR_INVALID, "%s: set it by a flag, the environment or in a "
                         "file (certctld --help)", err->detail);
    }

    for (const struct field *f = conf_fields; f->name; f++) {
        if (json_object_get(values, f->name) == NULL) {
            json_object_set_new(values, f->name, field_default(f));
        }

        value = json_object_get(values, f->name);

        if (f->type == T_INT) {
            *(int *) conf_member(conf, f) = (int) json_integer_value(value);

        } else if (f->type == T_BOOL) {
            *(bool *) conf_member(conf, f) = json_is_true(value);

        } else {
            text = json_string_value(value);
            copy = strdup(text ? text : "");
            if (copy == NULL) {
                return error_set(err, ERR_INTERNAL, "out of memory");
            }
            *(char **) conf_member(conf, f) = copy;
        }
    }

    return true;
}

/* What follows from several fields. The hosts of a demo are on this machine. */
static bool
conf_complete(struct conf *conf, struct error *err)
{
    char  *url = NULL;

    if (!networks_parse(conf->outgoing_networks, &conf->outgoing, err)
        || (conf->demo && !networks_parse("127.0.0.0/8, ::1/128", &conf->outgoing, err)))
    {
        return error_prefix(err, "outgoing_networks");
    }

    if (*conf->pki_url == '\0' && *conf->pki_listen) {
        if (asprintf(&url, "http://%s", conf->pki_listen) < 0) {
            return error_set(err, ERR_INTERNAL, "out of memory");
        }
        free(conf->pki_url);
        conf->pki_url = url;
    }

    return true;
}

bool
conf_load(struct conf *conf, int argc, char **argv, bool *test,
    struct error *err)
{
    CLEANUP(json_ref) json_t  *values = json_object();
    const char                *file = NULL;

    *conf = (struct conf) { 0 };
    *test = false;

    return conf_read_flags(NULL, argc, argv, &file, test, err)
           && (file == NULL || conf_read_file(values, file, err))
           && conf_read_env(values, err)
           && conf_read_flags(values, argc, argv, &file, test, err)
           && conf_store(conf, values, err)
           && conf_complete(conf, err);
}

void
conf_free(struct conf *conf)
{
    for (const struct field *f = conf_fields; f->name; f++) {
        if (f->type == T_TEXT) {
            free(*(char **) conf_member(conf, f));
        }
    }
}

void
conf_print(const struct conf *conf, FILE *out)
{
    const char  *text;

    for (const struct field *f = conf_fields; f->name; f++) {
        const void  *member = conf_member(conf, f);

        if (f->type == T_INT) {
            fprintf(out, "%s = %d\n", f->name, *(const int *) member);

        } else if (f->type == T_BOOL) {
            fprintf(out, "%s = %s\n", f->name, *(const bool *) member ? "on" : "off");

        } else {
            text = *(char *const *) member;
            fprintf(out, "%s = %s\n", f->name,
                    (f->flags & F_SECRET) && *text ? "********" : text);
        }
    }
}

void
conf_default(const struct field *f, char *out, size_t size)
{
    CLEANUP(json_ref) json_t  *value = field_default(f);

    if (json_is_integer(value)) {
        snprintf(out, size, "%lld", (long long) json_integer_value(value));
    } else if (json_is_boolean(value)) {
        snprintf(out, size, "%s", json_is_true(value) ? "on" : "off");
    } else {
        snprintf(out, size, "%s", json_is_string(value) ? json_string_value(value) : "");
    }
}

void
conf_usage(FILE *out)
{
    char  init[200], rule[200];

    fprintf(out, "certctld --data-dir D [--config FILE] [-T] [--KEY VALUE]...\n\n"
            "  -T  print the effective configuration and exit\n\n"
            "Each key may stand in FILE (\"key = value\"), in the environment\n"
            "(CERTCTL_KEY) or here (--key value); the later wins.\n\n");

    for (const struct field *f = conf_fields; f->name; f++) {
        conf_default(f, init, sizeof(init));
        field_rule(f, rule, sizeof(rule));
        fprintf(out, "  %-22s %s (%s%sdefault \"%s\")\n", f->name, f->help,
                f->type == T_BOOL ? "on or off" : rule,
                f->type == T_BOOL || *rule ? ", " : "", init);
    }
}
