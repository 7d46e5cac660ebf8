
/*
 * Directives of stream{}: its TLS servers are given certificates of the same
 * store by the same rules.
 *
 * Two modules are in this object: a stream module for the directives, and a
 * core module, because only those hear when the whole configuration was read.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include "tls/conf.h"
#include "stream/stream_module.h"


/* http{} may stand behind, and need no thread pool of its own. */

static char *
ngx_stream_certctl_ticket_keys(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                            *rc;
    ngx_stream_certctl_main_conf_t  *mcf;

    rc = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rc != NGX_CONF_OK
        || ((ngx_certctl_srv_conf_t *) conf)->ticket_keys == 0)
    {
        return rc;
    }

    mcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_certctl_module);

    mcf->thread_pool = ngx_thread_pool_add(cf, NULL);

    return mcf->thread_pool ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_command_t  ngx_stream_certctl_commands[] = {

    { ngx_string("certctl"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_certctl_srv_conf_t, enable),
      NULL },

    { ngx_string("certctl_certificate"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_certctl_set_name_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_certctl_srv_conf_t, certificate),
      NULL },

    { ngx_string("certctl_challenge"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_certctl_srv_conf_t, challenge),
      NULL },

    { ngx_string("certctl_ticket_keys"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_FLAG,
      ngx_stream_certctl_ticket_keys,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_certctl_srv_conf_t, ticket_keys),
      NULL },

      ngx_null_command
};


static ngx_int_t
ngx_stream_certctl_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    return ngx_certctl_value_get((ngx_certctl_value_t *) data, s->connection,
                                 s->connection->pool, v);
}


static ngx_int_t
ngx_stream_certctl_preconfiguration(ngx_conf_t *cf)
{
    ngx_certctl_value_t             *value;
    ngx_stream_variable_t           *var;
    ngx_stream_certctl_main_conf_t  *mcf;

    if (&ngx_http_certctl_module == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "ngx_stream_certctl_module needs "
                      "ngx_http_certctl_module: put \"load_module "
                      "modules/ngx_http_certctl_module.so;\" before it");
        return NGX_ERROR;
    }

    mcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_certctl_module);

    /* while servers are merged, cf->ctx is the server's: keep stream{}'s */

    mcf->stream_ctx = *(ngx_stream_conf_ctx_t *) cf->ctx;

    for (value = ngx_certctl_values; value->name.len; value++) {
        var = ngx_stream_add_variable(cf, &value->name, 0);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_stream_certctl_variable;
        var->data = (uintptr_t) value;
    }

    return NGX_OK;
}


/* The first phase behind the handshake: see ngx_certctl_acme_info_cb(). */

static ngx_int_t
ngx_stream_certctl_preread(ngx_stream_session_t *s)
{
    return s->connection->close ? NGX_STREAM_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_stream_certctl_postconfiguration(ngx_conf_t *cf)
{
    ngx_stream_handler_pt           *preread;
    ngx_stream_core_main_conf_t     *cmcf;
    ngx_stream_certctl_main_conf_t  *mcf;

    mcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_certctl_module);
    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    mcf->servers = &cmcf->servers;

    preread = ngx_array_push(
                  &cmcf->phases[NGX_STREAM_PREREAD_PHASE].handlers);
    if (preread == NULL) {
        return NGX_ERROR;
    }

    *preread = ngx_stream_certctl_preread;

    return NGX_OK;
}


static void *
ngx_stream_certctl_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_stream_certctl_main_conf_t));
}


static char *
ngx_stream_certctl_init_main_conf(ngx_conf_t *cf, void *conf)
{
    /* merging servers needs to know which of them speak TLS */

    return ngx_stream_certctl_find_listens(cf);
}


static void *
ngx_stream_certctl_create_srv_conf(ngx_conf_t *cf)
{
    ngx_certctl_srv_conf_t  *scf;

    scf = ngx_pcalloc(cf->pool, sizeof(ngx_certctl_srv_conf_t));

    if (scf) {
        ngx_certctl_conf_unset(scf);
    }

    return scf;
}


/*
 * Runs before the SSL module merges the same server (see "config"): what is
 * set here it handles like a directive of the configuration.
 */

static char *
ngx_stream_certctl_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_certctl_srv_conf_t *prev = parent;
    ngx_certctl_srv_conf_t *conf = child;

    ngx_stream_core_srv_conf_t      *cscf;
    ngx_stream_certctl_main_conf_t  *mcf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    if (ngx_certctl_conf_merge(cf, prev, conf, cscf->file_name, cscf->line)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (!conf->enable || !conf->tls) {
        return NGX_CONF_OK;
    }

    mcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_certctl_module);

    return ngx_stream_certctl_complete(cf, mcf, conf);
}


static ngx_stream_module_t  ngx_stream_certctl_module_ctx = {
    ngx_stream_certctl_preconfiguration,   /* preconfiguration */
    ngx_stream_certctl_postconfiguration,  /* postconfiguration */

    ngx_stream_certctl_create_main_conf,   /* create main configuration */
    ngx_stream_certctl_init_main_conf,     /* init main configuration */

    ngx_stream_certctl_create_srv_conf,    /* create server configuration */
    ngx_stream_certctl_merge_srv_conf      /* merge server configuration */
};


ngx_module_t  ngx_stream_certctl_module = {
    NGX_MODULE_V1,
    &ngx_stream_certctl_module_ctx,        /* module context */
    ngx_stream_certctl_commands,           /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_stream_certctl_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_stream_certctl_main_conf_t  *mcf;

    mcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                ngx_stream_certctl_module);

    /* without a stream{} there is none */

    if (mcf == NULL || ngx_stream_certctl_init_servers(cycle, mcf) == NGX_OK) {
        return NGX_CONF_OK;
    }

    return NGX_CONF_ERROR;
}


static ngx_core_module_t  ngx_stream_certctl_core_module_ctx = {
    ngx_string("stream_certctl"),
    NULL,
    ngx_stream_certctl_init_conf
};


ngx_module_t  ngx_stream_certctl_core_module = {
    NGX_MODULE_V1,
    &ngx_stream_certctl_core_module_ctx,   /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};
