/* Commands that are more than one request. */
#include "cli.h"

#include "cleanup.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

CLEANUP_FUNC(json, json_t *, json_decref)

/* What status counts: the total of a list. */
static const struct {
    const char  *name;
    const char  *path;
} counts[] = {
    { "agents",                   "/api/v1/agents?per_page=1" },
    { "agents_online",            "/api/v1/agents?per_page=1&status=Online" },
    { "certificates",             "/api/v1/certificates?per_page=1" },
    { "certificates_active",      "/api/v1/certificates?per_page=1&status=Active" },
    { "certificates_expiring",    "/api/v1/certificates?per_page=1&status=Expiring" },
    { "certificates_expired",     "/api/v1/certificates?per_page=1&status=Expired" },
    { "jobs_running",             "/api/v1/jobs?per_page=1&status=Running" },
    { "jobs_failed",              "/api/v1/jobs?per_page=1&status=Failed" }
};

static bool
fetch(const struct cli *cli, json_t *out, struct error *err)
{
    CLEANUP(json) json_t  *ready = NULL;

    if (!cli_request(cli, "GET", "/ready", NULL, NULL, &ready, err)) {
        return false;
    }

    json_object_set_new(out, "server", json_string(cli->server));
    json_object_update(out, ready);

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        CLEANUP(json) json_t  *list = NULL;

        if (!cli_request(cli, "GET", counts[i].path, NULL, NULL, &list, err)) {
            return false;
        }

        json_object_set(out, counts[i].name, json_object_get(list, "total"));
    }

    return true;
}

enum cli_exit
cli_status(const struct cli *cli)
{
    struct error           err = { 0 };
    CLEANUP(json) json_t  *out = json_object();

    if (!fetch(cli, out, &err)) {
        return cli_fail(&err);
    }

    cli_print(cli, out);
    return CLI_OK;
}

enum cli_exit
cli_version(const struct cli *cli)
{
    bool                   answered;
    struct error           err = { 0 };
    CLEANUP(json) json_t  *server = NULL;
    CLEANUP(json) json_t  *out = json_pack("{s:s}", "client", CERTCTL_VERSION);

    answered = cli_request(cli, "GET", "/api/v1/version", NULL, NULL, &server,
                           &err);
    json_object_set(out, "server", answered
                                   ? json_object_get(server, "version")
                                   : json_null());
    cli_print(cli, out);

    return answered ? CLI_OK : cli_fail(&err);
}

/* Nothing is trusted on first use unless that is said in so many words. */
const char *
cli_check_agent(const struct cli *cli)
{
    const char  *pin = cli_value(cli, "fingerprint");

    if (strncmp(cli->argument, "https://", 8) != 0) {
        return "the URL of a module begins with https://";
    }

    if (!pin && !cli_value(cli, "trust-on-first-use")) {
        return "--fingerprint HEX is missing (or --trust-on-first-use, which "
               "believes whoever answers)";
    }

    if (pin && strspn(pin, "0123456789abcdefABCDEF") != 64) {
        return "--fingerprint is a SHA-256: 64 hex digits";
    }

    return NULL;
}
