
/*
 * Which server NGINX takes for a name at an address (exact name, longest
 * wildcard at the start, longest wildcard at the end, first regular expression,
 * default server), looked up in NGINX's own tables.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/address.h"
#include "tls/server.h"


/* The label that stands for any, where a regular expression is matched. */
#define NGX_CERTCTL_ANY_LABEL  "www"


ngx_certctl_address_t *
ngx_certctl_address_add(ngx_cycle_t *cycle, ngx_certctl_t *certctl)
{
    ngx_certctl_address_t  *address;

    if (certctl->addresses.elts == NULL
        && ngx_array_init(&certctl->addresses, cycle->pool, 4,
                          sizeof(ngx_certctl_address_t))
           != NGX_OK)
    {
        return NULL;
    }

    address = ngx_array_push(&certctl->addresses);
    if (address == NULL) {
        return NULL;
    }

    ngx_memzero(address, sizeof(ngx_certctl_address_t));

    if (ngx_array_init(&address->regexes, cycle->pool, 1,
                       sizeof(ngx_certctl_address_regex_t))
        != NGX_OK)
    {
        return NULL;
    }

    return address;
}


/* ngx_regex_exec() has one buffer for all: it is for the event loop alone. */

static ngx_uint_t
ngx_certctl_regex_matches(void *regex, ngx_str_t *name)
{
#if (NGX_PCRE2)

    int                   rc;
    pcre2_match_data     *data;
    pcre2_match_context  *context;

    /* without a context PCRE would use the allocator of NGINX's expressions */

    rc = PCRE2_ERROR_NOMEMORY;
    data = pcre2_match_data_create(1, NULL);
    context = pcre2_match_context_create(NULL);

    if (data && context) {
        rc = pcre2_match(regex, name->data, name->len, 0, 0, data, context);
    }

    pcre2_match_context_free(context);
    pcre2_match_data_free(data);

    return rc >= 0;

#elif (NGX_PCRE)

    ngx_regex_t *re = regex;

    return pcre_exec(re->code, re->extra, (const char *) name->data, name->len,
                     0, 0, NULL, 0)
           >= 0;

#else

    return 0;

#endif
}


static SSL_CTX *
ngx_certctl_address_regex_ctx(ngx_certctl_address_t *address, ngx_str_t *name)
{
    u_char                        host[NGX_CERTCTL_HOST_MAX];
    ngx_str_t                     text;
    ngx_uint_t                    i;
    ngx_certctl_address_regex_t  *regex;

    text = *name;

    if (text.data[0] == '*') {
        text.data = host;
        text.len = ngx_snprintf(host, sizeof(host), NGX_CERTCTL_ANY_LABEL "%*s",
                                name->len - 1, name->data + 1)
                   - host;
    }

    regex = address->regexes.elts;

    for (i = 0; i < address->regexes.nelts; i++) {

        if (ngx_certctl_regex_matches(regex[i].regex, &text)) {
            return regex[i].ctx;
        }
    }

    return NULL;
}


ngx_certctl_server_t *
ngx_certctl_address_server(ngx_certctl_address_t *address, ngx_str_t *name)
{
    void     *server;
    SSL_CTX  *ctx;

    ctx = NULL;

    if (address->names && name->len) {
        server = ngx_hash_find_combined(address->names,
                                        ngx_hash_key(name->data, name->len),
                                        name->data, name->len);

        ctx = server ? address->server_ctx(server)
                     : ngx_certctl_address_regex_ctx(address, name);
    }

    /* a server without a context leaves the client to the default one */

    ctx = ctx ? ctx : address->ctx;

    return ctx ? ngx_certctl_ctx_server(ctx) : NULL;
}


ngx_uint_t
ngx_certctl_address_serves(ngx_certctl_t *certctl, const u_char *digest)
{
    ngx_str_t               none;
    ngx_uint_t              i, kind;
    ngx_certctl_choice_t    choice;
    ngx_certctl_server_t   *server, copy;
    ngx_certctl_address_t  *address;

    ngx_str_set(&none, "");
    address = certctl->addresses.elts;

    for (i = 0; i < certctl->addresses.nelts; i++) {
        server = ngx_certctl_address_server(&address[i], &none);

        if (server == NULL) {
            continue;
        }

        copy = *server;
        copy.certctl = certctl;

        (void) ngx_certctl_choose(&copy, &none, &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {

            if (choice.cert[kind]
                && ngx_memcmp(choice.cert[kind]->digest, digest, 32) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}
