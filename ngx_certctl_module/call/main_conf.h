
/*
 * What the HTTP module's own files share: its configuration, and the control
 * listener.
 */

#ifndef _NGX_CERTCTL_MAIN_CONF_H_INCLUDED_
#define _NGX_CERTCTL_MAIN_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "tls/conf.h"


typedef struct {
    ngx_certctl_t  certctl;

    ngx_str_t                   store_path; /* full, NUL-terminated; "" when
                                               not configured */
    ngx_str_t                   trust_file;     /* certctl_trust */

    ngx_shm_zone_t             *shm_zone;

    ngx_str_t                   thread_pool_name;
#if (NGX_THREADS)
    ngx_thread_pool_t          *thread_pool;    /* set in postconfiguration
                                                   when it is needed */
#endif

    ngx_array_t                *discover;   /* ngx_str_t: directories that may
                                               be searched; NULL: none */

    ngx_uint_t                  agents;     /* servers with certctl_agent */
    ngx_array_t                *agent_users;    /* uid_t: certctl_agent_users;
                                                   NULL: none */
    uid_t                       master;     /* who has started NGINX */
    ngx_http_conf_ctx_t         http_ctx;   /* of http{} itself */
    ngx_flag_t                  used;
} ngx_http_certctl_main_conf_t;


typedef struct {
    ngx_certctl_srv_conf_t      common;

    ngx_flag_t                  agent;      /* set by certctl_agent, wherever
                                               in the server it stands */
} ngx_http_certctl_srv_conf_t;


extern ngx_module_t  ngx_http_certctl_module;


#endif /* _NGX_CERTCTL_MAIN_CONF_H_INCLUDED_ */
