/* agents add: whom to believe, and what a host is called when nobody says. */
#include "cli.h"

#include "cleanup.h"

#include <ctype.h>
#include <string.h>

#define SCHEME  "https://"

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

    if (pin && (strlen(pin) != 64
                || strspn(pin, "0123456789abcdefABCDEF") != 64))
    {
        return "--fingerprint is a SHA-256: 64 hex digits";
    }

    return NULL;
}

/* The name is the URL's host; the API writes fingerprints in lower case. */
void
cli_agent_complete(json_t *body)
{
    const char  *url = json_string_value(json_object_get(body, "url"));
    const char  *pin = json_string_value(json_object_get(body, "fingerprint"));
    const char  *host = url + strlen(SCHEME);
    const char  *end = *host == '[' ? "]" : ":/";     /* RFC 3986 3.2.2 */

    if (!json_object_get(body, "name")) {
        json_object_set_new(body, "name",
                            json_stringn(host + (*host == '['),
                                         strcspn(host, end) - (*host == '[')));
    }

    if (pin) {
        CLEANUP(mem) char  *lower = strdup(pin);

        for (char *p = lower; p && *p; p++) {
            *p = tolower((unsigned char) *p);
        }

        json_object_set_new(body, "fingerprint", json_string(lower));
    }
}
