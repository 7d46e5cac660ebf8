
/*
 * What the stream module's own files share.
 */

#ifndef _NGX_STREAM_CERTCTL_MODULE_H_INCLUDED_
#define _NGX_STREAM_CERTCTL_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_thread_pool.h>

#include "tls/conf.h"


/*
 * What this object takes from the HTTP module's.  Weak, so that NGINX can say
 * which module is missing, where the dynamic linker would name a symbol.
 */

#pragma weak ngx_certctl_address_add
#pragma weak ngx_certctl_conf_complete
#pragma weak ngx_certctl_conf_incomplete
#pragma weak ngx_certctl_conf_listen
#pragma weak ngx_certctl_conf_merge
#pragma weak ngx_certctl_regex_matches
#pragma weak ngx_certctl_server_add
#pragma weak ngx_certctl_server_default
#pragma weak ngx_certctl_server_name
#pragma weak ngx_certctl_set_name_slot
#pragma weak ngx_certctl_value_get
#pragma weak ngx_certctl_values
#pragma weak ngx_http_certctl_module


typedef struct {
    ngx_stream_conf_ctx_t    stream_ctx;    /* of stream{} itself */
    ngx_array_t             *servers;       /* of the core module's */
    ngx_thread_pool_t       *thread_pool;   /* with certctl_ticket_keys, should
                                               http{} have none */
} ngx_stream_certctl_main_conf_t;


extern ngx_module_t  ngx_stream_certctl_module;
extern ngx_module_t  ngx_http_certctl_module;


/* stream/stream_server.c */

/* Marks each server that has a TLS listening socket: scf->tls, listens.  Before
   servers are merged; NGX_CONF_ERROR without memory. */
char *ngx_stream_certctl_find_listens(ngx_conf_t *cf);

/* Completes the server being merged, unless it rejects handshakes. */
char *ngx_stream_certctl_complete(ngx_conf_t *cf,
    ngx_stream_certctl_main_conf_t *mcf, ngx_certctl_srv_conf_t *scf);

/*
 * Hands the servers over to the HTTP module's store, once the whole
 * configuration was read, wherever in it http{} stands.  NGX_ERROR after
 * logging why.
 */
ngx_int_t ngx_stream_certctl_init_servers(ngx_cycle_t *cycle,
    ngx_stream_certctl_main_conf_t *mcf);


/* stream/stream_addresses.c */

/* Adds the addresses of stream{}, once NGINX listens on them. */
ngx_int_t ngx_stream_certctl_add_addresses(ngx_cycle_t *cycle,
    ngx_certctl_t *certctl);


#endif /* _NGX_STREAM_CERTCTL_MODULE_H_INCLUDED_ */
