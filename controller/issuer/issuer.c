/* The connectors there are, and how a type's name finds one. */
#include "issuer.h"
#include "local.h"

#include <stdlib.h>

const struct field_kind *const  issuer_kinds[] = {
    &issuer_local.kind,
    NULL
};

/* A kind is the first member of its connector. */
const struct issuer *
issuer_find(const char *type)
{
    return (const struct issuer *) field_kind_find(issuer_kinds, type);
}

void
issuer_result_free(struct issuer_result *result)
{
    free(result->chain_pem);
    free(result->external_ref);

    *result = (struct issuer_result) { 0 };
}
