/* Commands that are more than one request. */
#include "cli.h"

#include "cleanup.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

CLEANUP_FUNC(json, json_t *, json_decref)

static bool
fetch(const struct cli *cli, json_t *out, struct error *err)
{
    CLEANUP(json) json_t  *ready = NULL;
    CLEANUP(json) json_t  *counts = NULL;

    if (!cli_request(cli, "GET", "/ready", NULL, NULL, &ready, err)
        || !cli_request(cli, "GET", "/api/v1/stats/summary", NULL, NULL,
                        &counts, err))
    {
        return false;
    }

    json_object_set_new(out, "server", json_string(cli->server));
    json_object_update(out, ready);
    json_object_update(out, counts);

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
