/* agents add, set: forms of a fingerprint, names of hosts, the first contact. */
#include "cli.h"

#include "cleanup.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SCHEME       "https://"
#define PIN_DIGITS   64
#define WHERE        "it is in certctl-agent.fingerprint in the directory of certctl_store "    \
                     "on the host"
#define CONTACT_MS   15000            /* how long add waits for the first contact */
#define CONTACT_STEP 250

CLEANUP_FUNC(json, json_t *, json_decref)

/* The digits alone: "sha256:ab..", "SHA256 Fingerprint=AB:CD..", "AB:CD..". */
static void
pin_digits(const char *text, char *digits, size_t size)
{
    static const char *const  heads[] = { "sha256 fingerprint=", "sha256:", "sha256=" };
    size_t                    n = 0;

    text += strspn(text, " ");

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strncasecmp(text, heads[i], strlen(heads[i])) == 0) {
            text += strlen(heads[i]);
            break;
        }
    }

    for ( ; *text && n < size - 1; text++) {
        if (*text != ':') {
            digits[n++] = (char) tolower((unsigned char) *text);
        }
    }

    digits[n] = '\0';
}

/* NULL, or why it is no SHA-256 and where there is one. */
static const char *
pin_check(const char *pin)
{
    static const struct { size_t digits; const char *why; } known[] = {
        { 32, "--fingerprint has 32 hex digits, an MD5: take the SHA-256, " WHERE },
        { 40, "--fingerprint has 40 hex digits, a SHA-1: take the SHA-256, " WHERE },
        { 128, "--fingerprint has 128 hex digits, a SHA-512: take the SHA-256, " WHERE },
    };
    char    digits[200];
    size_t  hex;

    pin_digits(pin, digits, sizeof(digits));
    hex = strspn(digits, "0123456789abcdef");

    if (hex == PIN_DIGITS && digits[hex] == '\0') {
        return NULL;
    }

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (hex == known[i].digits && digits[hex] == '\0') {
            return known[i].why;
        }
    }

    return "--fingerprint must be a SHA-256: 64 hex digits, with or without colons and "
           "\"sha256:\"; " WHERE;
}

static const char *
url_check(const char *url)
{
    return url == NULL || strncmp(url, SCHEME, strlen(SCHEME)) == 0
           ? NULL : "the URL of a module begins with https://";
}

/* Nothing is trusted on first use unless that is said in so many words. */
const char *
cli_agent_check(const struct cli *cli)
{
    const char  *pin = cli_value(cli, "fingerprint");
    const char  *trust = cli_value(cli, "trust-on-first-use");
    const char  *wrong = url_check(cli->argument);

    if (wrong) {
        return wrong;
    }

    if (!pin && !trust) {
        return "--fingerprint HEX is missing (or --trust-on-first-use, which "
               "believes whoever answers)";
    }

    if (pin && trust) {
        return "--fingerprint and --trust-on-first-use exclude each other";
    }

    return pin ? pin_check(pin) : NULL;
}

/* A host without its store has another certificate: nothing else tells it from
 * another host. */
const char *
cli_agent_reset_check(const struct cli *cli)
{
    const char  *pin = cli_value(cli, "fingerprint");

    if (pin == NULL) {
        return "--fingerprint HEX is missing: " WHERE;
    }

    if (cli_value(cli, "override-limit") && !cli_value(cli, "reason")) {
        return "--override-limit needs --reason TEXT";
    }

    return pin_check(pin);
}

const char *
cli_agent_set_check(const struct cli *cli)
{
    const char  *pin = cli_value(cli, "fingerprint");
    const char  *wrong = url_check(cli_value(cli, "url"));

    for (int i = 0; cli->command->options[i].name; i++) {
        if (cli->values[i]) {
            return wrong ? wrong : pin ? pin_check(pin) : NULL;
        }
    }

    return "agents set changes what its options name: --url, --name, --fingerprint, "
           "--probe-address";
}

const char *
cli_agent_remove_check(const struct cli *cli)
{
    const char  *reason = cli_value(cli, "reason");

    return cli_value(cli, "force") && (!reason || !*reason)
           ? "--force needs --reason TEXT, which the audit log keeps" : NULL;
}

/* The API writes fingerprints in lower case and without colons; an empty address
 * is none. */
void
cli_agent_complete(json_t *body)
{
    const char  *pin = json_string_value(json_object_get(body, "fingerprint"));
    const char  *probe = json_string_value(json_object_get(body, "probe_address"));
    char         digits[200];

    if (pin) {
        pin_digits(pin, digits, sizeof(digits));
        json_object_set_new(body, "fingerprint", json_string(digits));
    }

    if (probe && *probe == '\0') {
        json_object_set_new(body, "probe_address", json_null());
    }
}

/* The URL's host, and with its port where that is the name of another (RFC 3986
 * 3.2). */
static json_t *
agent_name(const char *url, bool port)
{
    const char  *host = url + strlen(SCHEME);
    size_t       len = strcspn(host, "/?#"), bare;

    if (port) {
        return json_stringn(host, len);
    }

    bare = *host == '[' ? strcspn(++host, "]") : strcspn(host, ":");

    return json_stringn(host, bare < len ? bare : len);
}

/*
 * The new host as it is after its first contact, or after CONTACT_MS; false when
 * that failed, with why.
 */
static bool
agent_contact(const struct cli *cli, json_t **agent, struct error *err)
{
    const struct timespec  step = { .tv_nsec = CONTACT_STEP * 1000000L };
    CLEANUP(json) json_t  *id = json_incref(json_object_get(*agent, "id"));
    CLEANUP(mem) char     *path = NULL;

    if (id == NULL || asprintf(&path, "/api/v1/agents/%s", json_string_value(id)) == -1) {
        path = NULL;
        return true;
    }

    for (int ms = 0; ms < CONTACT_MS; ms += CONTACT_STEP) {
        const char  *status = json_string_value(json_object_get(*agent, "status"));
        const char  *why = json_string_value(json_object_get(*agent, "last_error"));
        json_t      *next = NULL;

        if (why) {
            return error_set(err, ERR_PEER, "%s is registered, but the first contact failed: "
                             "%.200s; correct it with: certctl agents set %s",
                             json_string_value(id), why, json_string_value(id));
        }

        if (status == NULL || strcmp(status, "Pending") != 0) {
            return true;
        }

        nanosleep(&step, NULL);

        if (!cli_request(cli, "GET", path, NULL, NULL, &next, err)) {
            return false;
        }

        json_decref(*agent);
        *agent = next;
    }

    return true;
}

enum cli_exit
cli_agent_add(const struct cli *cli)
{
    struct error           err = { 0 };
    bool                   named = cli_value(cli, "name") != NULL, ok;
    int                    status = 0;
    CLEANUP(json) json_t  *body = cli_body(cli);
    CLEANUP(json) json_t  *agent = NULL;

    if (!named) {
        json_object_set_new(body, "name", agent_name(cli->argument, false));
    }

    ok = cli_request(cli, "POST", cli->command->path, body, &status, &agent, &err);

    if (!ok && !named && status == 409) {
        json_object_set_new(body, "name", agent_name(cli->argument, true));
        ok = cli_request(cli, "POST", cli->command->path, body, &status, &agent, &err);
    }

    if (!ok) {
        return cli_fail(&err);
    }

    ok = agent_contact(cli, &agent, &err);
    cli_print(cli, agent);

    return ok ? CLI_OK : cli_fail(&err);
}
