/* agents add: whom to believe, and what a host is called when nobody says. */
#include "cli.h"

#include "cleanup.h"

#include <ctype.h>
#include <string.h>

#define SCHEME  "https://"

static const char *
fingerprint_check(const char *pin)
{
    return strlen(pin) == 64 && strspn(pin, "0123456789abcdefABCDEF") == 64
           ? NULL : "--fingerprint is a SHA-256: 64 hex digits";
}

/* The API writes fingerprints in lower case. */
static void
fingerprint_complete(json_t *body)
{
    const char         *pin = json_string_value(json_object_get(body, "fingerprint"));
    CLEANUP(mem) char  *lower = pin ? strdup(pin) : NULL;

    for (char *p = lower; p && *p; p++) {
        *p = tolower((unsigned char) *p);
    }

    if (lower) {
        json_object_set_new(body, "fingerprint", json_string(lower));
    }
}

/* Nothing is trusted on first use unless that is said in so many words. */
const char *
cli_agent_check(const struct cli *cli)
{
    const char  *pin = cli_value(cli, "fingerprint");
    const char  *trust = cli_value(cli, "trust-on-first-use");

    if (strncmp(cli->argument, SCHEME, strlen(SCHEME)) != 0) {
        return "the URL of a module begins with https://";
    }

    if (!pin && !trust) {
        return "--fingerprint HEX is missing (or --trust-on-first-use, which "
               "believes whoever answers)";
    }

    if (pin && trust) {
        return "--fingerprint and --trust-on-first-use exclude each other";
    }

    return pin ? fingerprint_check(pin) : NULL;
}

/* A host without its store has another certificate: nothing else tells it from
 * another host. */
const char *
cli_agent_reset_check(const struct cli *cli)
{
    const char  *pin = cli_value(cli, "fingerprint");

    if (pin == NULL) {
        return "--fingerprint HEX is missing: it is in certctl-agent.fingerprint on the host";
    }

    if (cli_value(cli, "override-limit") && !cli_value(cli, "reason")) {
        return "--override-limit needs --reason TEXT";
    }

    return fingerprint_check(pin);
}

void
cli_agent_reset_complete(json_t *body)
{
    fingerprint_complete(body);
}

/* The name is the URL's host. */
void
cli_agent_complete(json_t *body)
{
    const char  *url = json_string_value(json_object_get(body, "url"));
    const char  *host = url + strlen(SCHEME);
    const char  *end = *host == '[' ? "]" : ":/";     /* RFC 3986 3.2.2 */

    if (!json_object_get(body, "name")) {
        json_object_set_new(body, "name",
                            json_stringn(host + (*host == '['),
                                         strcspn(host, end) - (*host == '[')));
    }

    fingerprint_complete(body);
}
