/* The connectors there are, and how a type's name finds one. */
#include "issuer.h"
#include "local.h"

#include <stdlib.h>
#include <strings.h>

const struct issuer *const  issuers[] = {
    &issuer_local,
    NULL
};

static bool
issuer_is_called(const struct issuer *issuer, const char *type)
{
    const char *const  *alias = issuer->aliases;

    if (strcasecmp(issuer->type, type) == 0) {
        return true;
    }

    while (alias && *alias && strcasecmp(*alias, type) != 0) {
        alias++;
    }

    return alias && *alias;
}

const struct issuer *
issuer_find(const char *type)
{
    const struct issuer *const  *issuer = issuers;

    while (*issuer && !issuer_is_called(*issuer, type)) {
        issuer++;
    }

    return *issuer;
}

void
issuer_result_free(struct issuer_result *result)
{
    free(result->chain_pem);
    free(result->external_ref);

    *result = (struct issuer_result) { 0 };
}
