
/*
 * Of servers with one address and one name NGINX takes the first, and warns of
 * the others: "conflicting server name".  It does so after postconfiguration,
 * and keeps no list of them.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/claims.h"


ngx_int_t
ngx_certctl_claims_begin(ngx_certctl_claims_t *claims, ngx_log_t *log)
{
    ngx_rbtree_init(&claims->tree, &claims->sentinel,
                    ngx_str_rbtree_insert_value);

    claims->pool = ngx_create_pool(4096, log);

    return claims->pool ? NGX_OK : NGX_ERROR;
}


void
ngx_certctl_claims_end(ngx_certctl_claims_t *claims)
{
    ngx_destroy_pool(claims->pool);
}


/* NGX_DECLINED: an earlier server has it. */

static ngx_int_t
ngx_certctl_claim_text(ngx_certctl_claims_t *claims, ngx_str_t *addr,
    const char *prefix, u_char *data, size_t len)
{
    u_char          *last;
    uint32_t         hash;
    ngx_str_t        name;
    ngx_str_node_t  *claim;

    claim = ngx_palloc(claims->pool, sizeof(ngx_str_node_t));
    last = ngx_pnalloc(claims->pool, addr->len + ngx_strlen(prefix) + len + 1);

    if (claim == NULL || last == NULL) {
        return NGX_ERROR;
    }

    name.data = data;
    name.len = len;

    claim->str.data = last;
    claim->str.len = ngx_sprintf(last, "%V %s%V", addr, prefix, &name) - last;

    hash = ngx_crc32_long(claim->str.data, claim->str.len);

    if (ngx_str_rbtree_lookup(&claims->tree, &claim->str, hash)) {
        return NGX_DECLINED;
    }

    claim->node.key = hash;
    ngx_rbtree_insert(&claims->tree, &claim->node);

    return NGX_OK;
}


/* ".example.com" is two names, and needs both (see ngx_hash_add_key()). */

static ngx_int_t
ngx_certctl_claim_at(ngx_certctl_claims_t *claims, ngx_str_t *addr,
    ngx_str_t *name)
{
    ngx_int_t  rc;

    if (name->len < 2 || name->data[0] != '.') {
        return ngx_certctl_claim_text(claims, addr, "", name->data, name->len);
    }

    rc = ngx_certctl_claim_text(claims, addr, "", name->data + 1,
                                name->len - 1);

    return rc == NGX_OK
           ? ngx_certctl_claim_text(claims, addr, "*", name->data, name->len)
           : rc;
}


ngx_int_t
ngx_certctl_claim(ngx_certctl_claims_t *claims, ngx_certctl_srv_conf_t *conf,
    ngx_str_t *name, ngx_uint_t *reached)
{
    ngx_int_t    rc;
    ngx_str_t   *addr;
    ngx_uint_t   i;

    /* alone at each of its addresses it has no rival */

    *reached = !conf->shared;

    if (!conf->shared) {
        return NGX_OK;
    }

    addr = conf->listens->elts;

    for (i = 0; i < conf->listens->nelts; i++) {
        rc = ngx_certctl_claim_at(claims, &addr[i], name);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        *reached |= (rc == NGX_OK);
    }

    return NGX_OK;
}
