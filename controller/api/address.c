/* Addresses that the controller is to call, in bodies. */
#include "address.h"

#include "conf.h"
#include "http.h"

#include <stdio.h>

bool
address_check(struct request *r, const char *pointer, const char *url)
{
    struct error  why = { 0 };
    char          name[100];

    if (http_url_allowed(&r->ctx->conf->outgoing, HTTP_PRIVATE, url, &why)) {
        return true;
    }

    /* as sentences about fields name it: "config.probe" */
    snprintf(name, sizeof(name), "%s", pointer + 1);

    for (char *p = name; *p; p++) {
        *p = *p == '/' ? '.' : *p;
    }

    return error_field(&r->err, pointer, "%s: %s", name, why.detail);
}
