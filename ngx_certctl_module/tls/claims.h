
/* Which server of an address NGINX finds by a name. */

#ifndef _NGX_CERTCTL_CLAIMS_H_INCLUDED_
#define _NGX_CERTCTL_CLAIMS_H_INCLUDED_


#include "tls/conf.h"


typedef struct {
    ngx_pool_t         *pool;
    ngx_rbtree_t        tree;
    ngx_rbtree_node_t   sentinel;
} ngx_certctl_claims_t;


ngx_int_t ngx_certctl_claims_begin(ngx_certctl_claims_t *claims,
    ngx_log_t *log);
void ngx_certctl_claims_end(ngx_certctl_claims_t *claims);

/*
 * For each name of each server, with certctl or without, in the order of the
 * configuration: *reached is whether NGINX finds the server by it somewhere.
 */
ngx_int_t ngx_certctl_claim(ngx_certctl_claims_t *claims,
    ngx_certctl_srv_conf_t *conf, ngx_str_t *name, ngx_uint_t *reached);


#endif /* _NGX_CERTCTL_CLAIMS_H_INCLUDED_ */
