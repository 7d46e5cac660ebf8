
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


ngx_int_t
ngx_certctl_address_add(ngx_cycle_t *cycle, ngx_certctl_t *certctl, void *conf,
    ngx_certctl_find_ctx_pt find_ctx)
{
    ngx_certctl_address_t  *address;

    if (certctl->addresses.elts == NULL
        && ngx_array_init(&certctl->addresses, cycle->pool, 4,
                          sizeof(ngx_certctl_address_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    address = ngx_array_push(&certctl->addresses);
    if (address == NULL) {
        return NGX_ERROR;
    }

    address->conf = conf;
    address->find_ctx = find_ctx;

    return NGX_OK;
}


ngx_uint_t
ngx_certctl_regex_matches(void *regex, ngx_str_t *host)
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
        rc = pcre2_match(regex, host->data, host->len, 0, 0, data, context);
    }

    pcre2_match_context_free(context);
    pcre2_match_data_free(data);

    return rc >= 0;

#elif (NGX_PCRE)

    ngx_regex_t *re = regex;

    return pcre_exec(re->code, re->extra, (const char *) host->data, host->len,
                     0, 0, NULL, 0)
           >= 0;

#else

    return 0;

#endif
}


ngx_certctl_server_t *
ngx_certctl_address_server(ngx_certctl_address_t *address, ngx_str_t *name)
{
    u_char      data[NGX_CERTCTL_HOST_MAX];
    SSL_CTX    *ctx;
    ngx_str_t   host;

    host = *name;

    if (host.len && host.data[0] == '*') {
        host.data = data;
        host.len = ngx_snprintf(data, sizeof(data), NGX_CERTCTL_ANY_LABEL "%*s",
                                name->len - 1, name->data + 1)
                   - data;
    }

    ctx = address->find_ctx(address->conf, name, &host);

    return ctx ? ngx_certctl_ctx_server(ctx) : NULL;
}


/* Both of ".example.com", which is the domain and its wildcard. */

static ngx_uint_t
ngx_certctl_address_leads(ngx_certctl_address_t *address, ngx_str_t *name,
    ngx_certctl_server_t *server)
{
    u_char     host[NGX_CERTCTL_HOST_MAX];
    ngx_str_t  text;

    text = *name;

    if (text.data[0] == '.') {
        text.data++;
        text.len--;

        if (ngx_certctl_address_server(address, &text) != server) {
            return 0;
        }

        text.data = host;
        text.len = ngx_snprintf(host, sizeof(host), "*%V", name) - host;
    }

    return ngx_certctl_address_server(address, &text) == server;
}


/*
 * Of servers with one address and one name NGINX takes the first, and warns of
 * the others: "conflicting server name".
 */

static ngx_int_t
ngx_certctl_address_server_names(ngx_certctl_t *certctl,
    ngx_certctl_server_t *server, ngx_pool_t *pool)
{
    u_char                  *reached;
    ngx_int_t                rc;
    ngx_str_t               *name;
    ngx_uint_t               i, a;
    ngx_certctl_address_t   *address;
    ngx_hash_keys_arrays_t   names;

    ngx_memzero(&names, sizeof(ngx_hash_keys_arrays_t));

    names.pool = pool;
    names.temp_pool = pool;

    if (ngx_hash_keys_array_init(&names, NGX_HASH_SMALL) != NGX_OK) {
        return NGX_ERROR;
    }

    name = server->names.elts;
    reached = server->reached.elts;
    address = certctl->addresses.elts;

    for (i = 0; i < server->names.nelts; i++) {

        /* regular expressions are tried one after the other */

        if (name[i].data[0] == '~') {
            continue;
        }

        /* a name may stand twice in one server, too */

        rc = ngx_hash_add_key(&names, &name[i], server, NGX_HASH_WILDCARD_KEY);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        reached[i] = 0;

        for (a = 0; rc == NGX_OK && a < certctl->addresses.nelts; a++) {

            reached[i] |= ngx_certctl_address_leads(&address[a], &name[i],
                                                    server);
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_certctl_address_names(ngx_certctl_t *certctl, ngx_log_t *log)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_pool_t             *pool;
    ngx_certctl_server_t  **server;

    rc = NGX_OK;
    server = certctl->servers.elts;

    for (i = 0; i < certctl->servers.nelts && rc == NGX_OK; i++) {

        pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, log);
        if (pool == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_certctl_address_server_names(certctl, server[i], pool);

        ngx_destroy_pool(pool);
    }

    return rc;
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

        ngx_certctl_choose(&copy, &none, &choice);

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
