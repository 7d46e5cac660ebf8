/* seal add, seal drop: the file of sealing keys, on the host of a controller. */
#include "cli.h"

#include "seal.h"

#include <stdio.h>

enum cli_exit
cli_seal_add(const struct cli *cli)
{
    char          id[SEAL_ID] = "";
    struct error  err = { 0 };

    if (!seal_file_add(cli->argument, id, &err)) {
        return cli_fail(&err);
    }

    printf("%s\n", id);

    return CLI_OK;
}

const char *
cli_seal_check(const struct cli *cli)
{
    return cli_value(cli, "key") ? NULL : "--key ID is missing: certctl seal list";
}

enum cli_exit
cli_seal_drop(const struct cli *cli)
{
    struct error  err = { 0 };

    return seal_file_drop(cli->argument, cli_value(cli, "key"), &err) ? CLI_OK
           : cli_fail(&err);
}
