
/*
 * Directives and variables: what an operator may write, and what it means for
 * each server.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "agent/agent.h"
#include "command/command.h"
#include "discover/discover.h"
#include "cert/placeholder.h"
#include "http/http_module.h"
#include "tls/address.h"
#include "tls/conf.h"
#include "tls/trial.h"
#include "tls/worker.h"


#define NGX_HTTP_CERTCTL_CACHE      1000
#define NGX_HTTP_CERTCTL_CACHE_MIN  16

#define NGX_HTTP_CERTCTL_TICKET_INTERVAL  (12 * 3600)
#define NGX_HTTP_CERTCTL_TICKET_KEEP      2
#define NGX_HTTP_CERTCTL_TICKET_KEEP_MAX  10


static char *
ngx_http_certctl_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_certctl_main_conf_t *mcf = conf;

    ngx_int_t   max;
    ngx_str_t  *value;

    if (mcf->certctl.cache_max != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    max = NGX_ERROR;

    if (value[1].len > 4 && ngx_strncmp(value[1].data, "max=", 4) == 0) {
        max = ngx_atoi(value[1].data + 4, value[1].len - 4);
    }

    if (max < NGX_HTTP_CERTCTL_CACHE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": write \"max=number\", "
                           "the names kept parsed in each worker, at least %d",
                           &value[1], NGX_HTTP_CERTCTL_CACHE_MIN);
        return NGX_CONF_ERROR;
    }

    mcf->certctl.cache_max = max;

    return NGX_CONF_OK;
}


static char *
ngx_http_certctl_ticket_rotation(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_certctl_main_conf_t *mcf = conf;

    time_t          interval;
    ngx_int_t       keep;
    ngx_str_t      *value;
    ngx_certctl_t  *certctl;

    certctl = &mcf->certctl;

    if (certctl->ticket_interval != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    keep = NGX_HTTP_CERTCTL_TICKET_KEEP;
    interval = ngx_parse_time(&value[1], 1);

    if (cf->args->nelts == 3) {
        keep = NGX_ERROR;

        if (value[2].len > 5 && ngx_strncmp(value[2].data, "keep=", 5) == 0) {
            keep = ngx_atoi(value[2].data + 5, value[2].len - 5);
        }
    }

    if (interval < 1 || interval > CERTCTL_TICKET_LIFE
        || keep < 1 || keep > NGX_HTTP_CERTCTL_TICKET_KEEP_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rotation of ticket keys: write \"time "
                           "[keep=number]\", how long a key encrypts, from 1s "
                           "to 7d, and how many older ones are accepted, "
                           "from 1 to %d",
                           NGX_HTTP_CERTCTL_TICKET_KEEP_MAX);
        return NGX_CONF_ERROR;
    }

    certctl->ticket_interval = interval;
    certctl->ticket_keep = keep;

    return NGX_CONF_OK;
}


static ngx_command_t  ngx_http_certctl_commands[] = {

    { ngx_string("certctl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_certctl_srv_conf_t, common.enable),
      NULL },

    { ngx_string("certctl_agent"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_certctl_agent,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("certctl_agent_users"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_certctl_agent_users,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("certctl_cache"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_certctl_cache,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("certctl_certificate"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_certctl_set_name_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_certctl_srv_conf_t, common.certificate),
      NULL },

    { ngx_string("certctl_challenge"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_certctl_srv_conf_t, common.challenge),
      NULL },

    { ngx_string("certctl_discover"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_certctl_discover,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("certctl_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_certctl_main_conf_t, store_path),
      NULL },

    { ngx_string("certctl_thread_pool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_certctl_main_conf_t, thread_pool_name),
      NULL },

    { ngx_string("certctl_ticket_keys"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_certctl_srv_conf_t, common.ticket_keys),
      NULL },

    { ngx_string("certctl_ticket_rotation"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_certctl_ticket_rotation,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("certctl_trust"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_certctl_main_conf_t, trust_file),
      NULL },

      ngx_null_command
};


static ngx_int_t
ngx_http_certctl_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    return ngx_certctl_value_get((ngx_certctl_value_t *) data, r->connection,
                                 r->pool, v);
}


static ngx_int_t
ngx_http_certctl_preconfiguration(ngx_conf_t *cf)
{
    ngx_certctl_value_t           *value;
    ngx_http_variable_t           *var;
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_certctl_module);

    /* while servers are merged, cf->ctx is the server's: keep http{}'s */

    mcf->http_ctx = *(ngx_http_conf_ctx_t *) cf->ctx;

    for (value = ngx_certctl_values; value->name.len; value++) {
        var = ngx_http_add_variable(cf, &value->name, 0);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_certctl_variable;
        var->data = (uintptr_t) value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_certctl_module);

    /* servers that use the store may be in stream{} alone */

    mcf->used |= (mcf->store_path.len != 0);

    return mcf->used ? ngx_http_certctl_start(cf, mcf) : NGX_OK;
}


static void *
ngx_http_certctl_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_certctl_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    mcf->certctl.cache_max = NGX_CONF_UNSET_UINT;
    mcf->certctl.ticket_interval = NGX_CONF_UNSET;

    return mcf;
}


static char *
ngx_http_certctl_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_certctl_main_conf_t *mcf = conf;

    ngx_conf_init_uint_value(mcf->certctl.cache_max, NGX_HTTP_CERTCTL_CACHE);

    if (mcf->certctl.ticket_interval == NGX_CONF_UNSET) {
        mcf->certctl.ticket_interval = NGX_HTTP_CERTCTL_TICKET_INTERVAL;
        mcf->certctl.ticket_keep = NGX_HTTP_CERTCTL_TICKET_KEEP;
    }

    if (mcf->store_path.len
        && ngx_conf_full_name(cf->cycle, &mcf->store_path, 0) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (mcf->trust_file.len
        && ngx_conf_full_name(cf->cycle, &mcf->trust_file, 1) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* merging servers needs to know which of them speak TLS */

    return ngx_http_certctl_find_listens(cf);
}


static void *
ngx_http_certctl_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_certctl_srv_conf_t  *scf;

    scf = ngx_pcalloc(cf->pool, sizeof(ngx_http_certctl_srv_conf_t));

    if (scf) {
        ngx_certctl_conf_unset(&scf->common);
    }

    return scf;
}


/*
 * Runs before the SSL module merges the same server (see "config"): what is
 * set here it handles like a directive of the configuration.
 */

static char *
ngx_http_certctl_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_certctl_srv_conf_t *prev = parent;
    ngx_http_certctl_srv_conf_t *conf = child;

    ngx_http_core_srv_conf_t      *cscf;
    ngx_http_certctl_main_conf_t  *mcf;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    if (ngx_certctl_conf_merge(cf, &prev->common, &conf->common,
                               cscf->file_name, cscf->line)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_certctl_module);

    if (conf->common.ticket_keys && conf->common.tls) {
        mcf->used = 1;
    }

    if (!conf->common.enable && !conf->agent) {
        return NGX_CONF_OK;
    }

    if (conf->agent && conf->common.certificate.len) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_certificate\" has no effect beside "
                      "\"certctl_agent\", which serves the identity of this "
                      "host: remove it from the server in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_CONF_ERROR;
    }

    mcf->used = 1;

    if (!conf->common.tls) {
        return NGX_CONF_OK;
    }

    return ngx_http_certctl_complete(cf, mcf, conf);
}


static ngx_http_module_t  ngx_http_certctl_module_ctx = {
    ngx_http_certctl_preconfiguration,     /* preconfiguration */
    ngx_http_certctl_postconfiguration,    /* postconfiguration */

    ngx_http_certctl_create_main_conf,     /* create main configuration */
    ngx_http_certctl_init_main_conf,       /* init main configuration */

    ngx_http_certctl_create_srv_conf,      /* create server configuration */
    ngx_http_certctl_merge_srv_conf,       /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


static ngx_int_t
ngx_http_certctl_init_module(ngx_cycle_t *cycle)
{
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_certctl_module);

    if (mcf == NULL || !mcf->used) {
        return NGX_OK;
    }

    /* those of stream{} are known since its configuration was complete */

    return ngx_http_certctl_add_addresses(cycle, &mcf->certctl) == NGX_OK
           ? ngx_certctl_address_names(&mcf->certctl, cycle->log) : NGX_ERROR;
}


static ngx_int_t
ngx_http_certctl_init_process(ngx_cycle_t *cycle)
{
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_certctl_module);

    if (mcf == NULL || !mcf->used) {
        return NGX_OK;
    }

    if (mcf->agents) {
        ngx_http_certctl_agent_errors();

        if (ngx_certctl_hello_init(&mcf->certctl, cycle->pool) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_http_certctl_ticket_keys_worker(cycle, mcf);
    ngx_http_certctl_reseal_worker(cycle, mcf);

    return ngx_certctl_worker_init(cycle, &mcf->certctl);
}


static void
ngx_http_certctl_exit(ngx_cycle_t *cycle)
{
    ngx_certctl_placeholder_free();
}


static void
ngx_http_certctl_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_certctl_threads_exit();
    ngx_http_certctl_exit(cycle);
}


ngx_module_t  ngx_http_certctl_module = {
    NGX_MODULE_V1,
    &ngx_http_certctl_module_ctx,          /* module context */
    ngx_http_certctl_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_certctl_init_module,          /* init module */
    ngx_http_certctl_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_certctl_exit_process,         /* exit process */
    ngx_http_certctl_exit,                 /* exit master */
    NGX_MODULE_V1_PADDING
};
