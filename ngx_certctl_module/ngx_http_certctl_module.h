
/*
 * What the HTTP module's own files share: its configuration, and the control
 * listener.
 */

#ifndef _NGX_HTTP_CERTCTL_MODULE_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_certctl_conf.h"


typedef struct {
    ngx_certctl_t  certctl;

    ngx_str_t                   store_path; /* full, NUL-terminated; "" when
                                               not configured */
    ngx_str_t                   trust_file;
    X509_STORE                 *trust;      /* who may command; NULL without
                                               certctl_trust */
    STACK_OF(X509_NAME)        *trust_names;

    ngx_shm_zone_t             *shm_zone;

    ngx_str_t                   thread_pool_name;
#if (NGX_THREADS)
    ngx_thread_pool_t          *thread_pool;    /* set in postconfiguration
                                                   when certctl_agent is used */
#endif

    ngx_array_t                *discover;   /* ngx_str_t: directories that may
                                               be walked; NULL: none */

    ngx_uint_t                  agents;     /* servers with certctl_agent */
    ngx_http_conf_ctx_t         http_ctx;   /* of http{} itself */
    ngx_flag_t                  used;
} ngx_http_certctl_main_conf_t;


typedef struct {
    ngx_certctl_srv_conf_t      common;

    ngx_flag_t                  agent;      /* set by certctl_agent, wherever
                                               in the server it stands */

    ngx_certctl_server_t       *server;     /* NULL when we do nothing here */
} ngx_http_certctl_srv_conf_t;


extern ngx_module_t  ngx_http_certctl_module;

/* The running cycle's configuration; NULL when the module is not used. */
ngx_http_certctl_main_conf_t *ngx_http_certctl_main_conf(void);


/*
 * The control listener: ngx_http_certctl_agent.c.  The directive sets
 * scf->agent of its server, which then serves the record "_agent" (wire.h) like
 * a pinned one: no other reload of the identity is needed than a touch.
 */
char *ngx_http_certctl_agent(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* The directive certctl_discover: ngx_http_certctl_discover.c. */
char *ngx_http_certctl_discover(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* In postconfiguration, when each mcf->certctl.servers[].ctx is known: client
   verification, TLS 1.3 only, no resumption on those with agent set. */
ngx_int_t ngx_http_certctl_agent_init(ngx_conf_t *cf);

/* In the master, once the store is open for writing (not in nginx -t): makes
   the identity if there is none, tells its fingerprint.  NGX_ERROR refuses
   the configuration. */
ngx_int_t ngx_http_certctl_agent_start(ngx_http_certctl_main_conf_t *mcf,
    ngx_log_t *log);


#endif /* _NGX_HTTP_CERTCTL_MODULE_H_INCLUDED_ */
