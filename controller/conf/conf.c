/*
 * The configuration table and its readers.  To add a key: 1. a field in struct
 * conf; 2. a row here; 3. a line in docs/configuration.md (t/02-tables.t checks).
 */
#include "conf.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ROW(field, type, init, flags, min, max, allowed, help)                \
    { #field, type, offsetof(struct conf, field), init, flags, min, max,      \
      allowed, help }

const struct conf_key  conf_keys[] = {
    ROW(data_dir, CONF_TEXT, "", 0, 1, 400, "a directory",
        "directory for the files of the daemon; created if missing"),
    ROW(listen, CONF_TEXT, "127.0.0.1:8443", 0, 3, 200, "address:port, or [address]:port",
        "where the REST API listens (TLS 1.3)"),
    ROW(pki_listen, CONF_TEXT, "127.0.0.1:8480", 0, 0, 200, "address:port, or empty for none",
        "where CRL and OCSP are answered over plain HTTP"),
    ROW(pki_url, CONF_TEXT, "", 0, 0, 200, "http://host[:port], or empty for http://<pki_listen>",
        "URL of pki_listen for relying parties; stands in issued certificates"),
    ROW(database, CONF_TEXT, "", CONF_SECRET, 0, 1000, "postgres://... or a libpq string, or empty for the private cluster",
        "PostgreSQL database of the controller"),
    ROW(demo, CONF_BOOL, "off", 0, 0, 0, "on or off",
        "load demo data; no API key is needed on loopback"),
    ROW(api_threads, CONF_INT, "2", 0, 1, 64, NULL, "threads that answer API requests"),
    ROW(job_threads, CONF_INT, "4", 0, 1, 64, NULL, "threads that run jobs"),
    ROW(inventory_interval, CONF_INT, "60", 0, 1, 86400, NULL,
        "seconds between two polls of each agent"),
    ROW(loop_tick, CONF_INT, "1", 0, 1, 3600, NULL,
        "seconds between two checks for agents that are due for a poll"),
    ROW(renewal_interval, CONF_INT, "30", 0, 1, 86400, NULL,
        "seconds between two checks for certificates that are due for renewal"),
    ROW(expiry_interval, CONF_INT, "300", 0, 1, 86400, NULL,
        "seconds between two updates of the expiry status"),
    ROW(ocsp_interval, CONF_INT, "30", 0, 1, 86400, NULL,
        "seconds between two checks for staples past half of their lifetime"),
    ROW(reaper_interval, CONF_INT, "10", 0, 1, 3600, NULL,
        "seconds between two checks for jobs whose lease has expired"),
    ROW(job_lease, CONF_INT, "60", 0, 3, 3600, NULL,
        "seconds until a job whose worker gives no sign of life can be claimed again"),
    ROW(max_issuances_per_day, CONF_INT, "3", 0, 1, 10000, NULL,
        "issuances of one certificate within 24 hours; the next one fails"),
    ROW(outgoing_networks, CONF_TEXT, "", CONF_NETWORKS, 0, 1500, "networks in CIDR notation, comma-separated, at most 32, or empty",
        "networks that outgoing calls may lead to in addition to public and private addresses"),
    ROW(ocsp_private_addresses, CONF_BOOL, "off", 0, 0, 0, "on or off",
        "allow OCSP responders at loopback and private addresses"),
    ROW(api_names, CONF_TEXT, "localhost,127.0.0.1,::1", 0, 1, 1000, "names and addresses, comma-separated",
        "names and addresses in the certificate of the API"),
    ROW(log_level, CONF_WORD, "info", 0, 0, 0, "error warn notice info debug",
        "least severe level that is logged on standard error"),
    { 0 }
};

static const struct conf_key *
conf_find(const char *name, size_t len)
{
    for (const struct conf_key *k = conf_keys; k->name; k++) {
        if (strlen(k->name) == len && strncmp(k->name, name, len) == 0) {
            return k;
        }
    }

    return NULL;
}

static void *
conf_field(struct conf *conf, const struct conf_key *key)
{
    return (char *) conf + key->offset;
}

static bool
conf_bad(const struct conf_key *key, const char *where, struct error *err)
{
    if (key->type == CONF_INT) {
        return error_set(err, ERR_INVALID, "%s: %s must be a number from %ld to %ld",
                         where, key->name, key->min, key->max);
    }

    return error_set(err, ERR_INVALID, "%s: %s must be %s%s", where, key->name,
                     key->type == CONF_WORD ? "one of: " : "", key->allowed);
}

static bool
conf_set_text(struct conf *conf, const struct conf_key *key, const char *value,
    const char *where, struct error *err)
{
    char             **field = conf_field(conf, key), *copy;
    struct networks    networks = { 0 };

    if ((key->flags & CONF_NETWORKS) && !networks_parse(value, &networks, err)) {
        return error_prefix(err, "%s: %s", where, key->name);
    }

    copy = strdup(value);
    if (copy == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    if (key->type == CONF_TEXT && where
        && ((long) strlen(value) < key->min || (long) strlen(value) > key->max))
    {
        free(copy);
        return conf_bad(key, where, err);
    }

    free(*field);
    *field = copy;

    return true;
}

static bool
word_allowed(const char *words, const char *word)
{
    size_t  len = strlen(word), n;

    for (; *words; words += n + (words[n] == ' ')) {
        n = strcspn(words, " ");
        if (n == len && strncmp(words, word, n) == 0) {
            return true;
        }
    }

    return false;
}

static bool
conf_set(struct conf *conf, const struct conf_key *key, const char *value,
    const char *where, struct error *err)
{
    static const char *const  on[] = { "on", "true", "yes", "1" };
    static const char *const  off[] = { "off", "false", "no", "0" };
    char                     *end;
    long                      n;

    switch (key->type) {

    case CONF_INT:
        errno = 0;
        n = strtol(value, &end, 10);
        if (errno || end == value || *end || n < key->min || n > key->max) {
            return conf_bad(key, where, err);
        }
        *(int *) conf_field(conf, key) = n;
        return true;

    case CONF_BOOL:
        for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
            if (strcmp(value, on[i]) == 0 || strcmp(value, off[i]) == 0) {
                *(bool *) conf_field(conf, key) = strcmp(value, on[i]) == 0;
                return true;
            }
        }
        return conf_bad(key, where, err);

    case CONF_WORD:
        if (!word_allowed(key->allowed, value)) {
            return conf_bad(key, where, err);
        }
    }

    return conf_set_text(conf, key, value, where, err);
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
conf_read_line(struct conf *conf, char *line, const char *where,
    struct error *err)
{
    const struct conf_key  *key;
    char                   *text = trim(line), *eq = strchr(text, '=');

    if (*text == '\0' || *text == '#') {
        return true;
    }

    if (eq == NULL) {
        return error_set(err, ERR_INVALID, "%s: a line is \"key = value\"", where);
    }

    *eq = '\0';
    text = trim(text);
    key = conf_find(text, strlen(text));

    if (key == NULL) {
        return error_set(err, ERR_INVALID, "%s: unknown key \"%.60s\": "
                         "certctld --help lists the keys", where, text);
    }

    return conf_set(conf, key, trim(eq + 1), where, err);
}

static bool
conf_read_file(struct conf *conf, const char *path, struct error *err)
{
    FILE  *file = fopen(path, "re");
    char   line[2048], where[600];
    int    n = 0;
    bool   ok = true;

    if (file == NULL) {
        return error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    }

    while (ok && fgets(line, sizeof(line), file)) {
        snprintf(where, sizeof(where), "%.500s:%d", path, ++n);
        ok = conf_read_line(conf, line, where, err);
    }

    fclose(file);

    return ok;
}

static bool
conf_read_env(struct conf *conf, struct error *err)
{
    char         name[80] = "CERTCTL_", where[100];
    const char  *value;
    size_t       i;

    for (const struct conf_key *k = conf_keys; k->name; k++) {
        for (i = 0; i <= strlen(k->name); i++) {
            name[8 + i] = toupper((unsigned char) k->name[i]);
        }

        snprintf(where, sizeof(where), "environment %s", name);
        value = getenv(name);
        if (value && !conf_set(conf, k, value, where, err)) {
            return false;
        }
    }

    return true;
}

/* "--job-threads" or "--job-threads=4" -> its row; *value points behind "=". */
static const struct conf_key *
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

/* Applies flags, or only finds --config (file wanted): flags win over the file. */
static bool
conf_read_flags(struct conf *conf, int argc, char **argv, const char **file,
    bool *test, struct error *err)
{
    const struct conf_key  *key;
    const char             *value;

    for (int i = 1; i < argc; i++) {

        if (strcmp(argv[i], "-T") == 0) {
            *test = true;
            continue;
        }

        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            *file = argv[++i];
            continue;
        }

        key = strncmp(argv[i], "--", 2) == 0 ? conf_flag(argv[i], &value) : NULL;

        if (key == NULL) {
            return error_set(err, ERR_INVALID, "unknown argument \"%.60s\": see --help",
                             argv[i]);
        }

        if (key->type == CONF_BOOL && value == NULL) {
            value = "on";
        } else if (value == NULL && i + 1 < argc) {
            value = argv[++i];
        }

        if (value == NULL) {
            return error_set(err, ERR_INVALID, "%.60s needs a value", argv[i]);
        }

        if (conf && !conf_set(conf, key, value, "command line", err)) {
            return false;
        }
    }

    return true;
}

/* The hosts of a demo are on this machine. */
static bool
conf_networks(struct conf *conf, struct error *err)
{
    conf->outgoing = (struct networks) { 0 };

    return (networks_parse(conf->outgoing_networks, &conf->outgoing, err)
            && (!conf->demo
                || networks_parse("127.0.0.0/8, ::1/128", &conf->outgoing, err)))
           || error_prefix(err, "outgoing_networks");
}

static bool
conf_complete(struct conf *conf, struct error *err)
{
    char  url[300];

    if (*conf->data_dir == '\0') {
        return error_set(err, ERR_INVALID, "data_dir is required: --data-dir D");
    }

    if (!conf_networks(conf, err)) {
        return false;
    }

    if (*conf->pki_url == '\0' && *conf->pki_listen) {
        snprintf(url, sizeof(url), "http://%.200s", conf->pki_listen);
        return conf_set_text(conf, conf_find("pki_url", 7), url, NULL, err);
    }

    if (*conf->pki_url && strncmp(conf->pki_url, "http://", 7) != 0) {
        return error_set(err, ERR_INVALID, "pki_url must begin with http://: RFC 5280 "
                         "4.2.1.13, clients do not follow https for CRL and OCSP");
    }

    return true;
}

bool
conf_load(struct conf *conf, int argc, char **argv, bool *test,
    struct error *err)
{
    const char  *file = NULL;

    *conf = (struct conf) { 0 };
    *test = false;

    for (const struct conf_key *k = conf_keys; k->name; k++) {
        if (k->type == CONF_TEXT ? !conf_set_text(conf, k, k->init, NULL, err)
            : !conf_set(conf, k, k->init, "default", err))
        {
            return false;
        }
    }

    return conf_read_flags(NULL, argc, argv, &file, test, err)
           && (file == NULL || conf_read_file(conf, file, err))
           && conf_read_env(conf, err)
           && conf_read_flags(conf, argc, argv, &file, test, err)
           && conf_complete(conf, err);
}

void
conf_free(struct conf *conf)
{
    for (const struct conf_key *k = conf_keys; k->name; k++) {
        if (k->type == CONF_TEXT || k->type == CONF_WORD) {
            free(*(char **) conf_field(conf, k));
        }
    }
}

void
conf_print(const struct conf *conf, FILE *out)
{
    for (const struct conf_key *k = conf_keys; k->name; k++) {
        const void  *field = (const char *) conf + k->offset;

        if (k->type == CONF_INT) {
            fprintf(out, "%s = %d\n", k->name, *(const int *) field);

        } else if (k->type == CONF_BOOL) {
            fprintf(out, "%s = %s\n", k->name, *(const bool *) field ? "on" : "off");

        } else {
            const char  *text = *(char *const *) field;

            fprintf(out, "%s = %s\n", k->name,
                    (k->flags & CONF_SECRET) && *text ? "********" : text);
        }
    }
}

void
conf_usage(FILE *out)
{
    fprintf(out, "certctld --data-dir D [--config FILE] [-T] [--KEY VALUE]...\n\n"
            "  -T  print the effective configuration and exit\n\n"
            "Each key may stand in FILE (\"key = value\"), in the environment\n"
            "(CERTCTL_KEY) or here (--key value); the later wins.\n\n");

    for (const struct conf_key *k = conf_keys; k->name; k++) {
        fprintf(out, "  %-22s %s (default \"%s\")\n", k->name, k->help, k->init);
    }
}
