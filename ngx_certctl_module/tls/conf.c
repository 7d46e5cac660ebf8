
/*
 * Directives that stand in http{} and in stream{} are read, and judged, once.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/conf.h"
#include "cert/placeholder.h"


char *
ngx_certctl_set_name_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char *p = conf;

    ngx_str_t  *value, *name;

    name = (ngx_str_t *) (p + cmd->offset);

    if (name->data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (!certctl_name_valid(value[1].data, value[1].len)
        || value[1].data[0] == '_')
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid certificate name \"%V\": write the name "
                           "of a record, up to %d letters, digits and \"._*-\"",
                           &value[1], CERTCTL_NAME_MAX);
        return NGX_CONF_ERROR;
    }

    *name = value[1];

    return NGX_CONF_OK;
}


ngx_int_t
ngx_certctl_conf_listen(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf,
    ngx_str_t *addr, ngx_certctl_srv_conf_t *by_default)
{
    ngx_str_t                *listen;
    ngx_certctl_srv_conf_t  **first;

    conf->tls = 1;
    conf->first |= (conf == by_default);

    if (conf->listens == NULL) {
        conf->listens = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
        conf->defaults = ngx_array_create(cf->pool, 1,
                                          sizeof(ngx_certctl_srv_conf_t *));

        if (conf->listens == NULL || conf->defaults == NULL) {
            return NGX_ERROR;
        }
    }

    listen = ngx_array_push(conf->listens);
    first = ngx_array_push(conf->defaults);

    if (listen == NULL || first == NULL) {
        return NGX_ERROR;
    }

    *listen = *addr;
    *first = by_default;

    return NGX_OK;
}


char *
ngx_certctl_conf_merge(ngx_conf_t *cf, ngx_certctl_srv_conf_t *prev,
    ngx_certctl_srv_conf_t *conf, u_char *file, ngx_uint_t line)
{
    ngx_uint_t  own;

    own = (conf->enable == 1);

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->challenge, prev->challenge, 1);

    conf->own_ticket_keys = (conf->ticket_keys == 1);
    ngx_conf_merge_value(conf->ticket_keys, prev->ticket_keys, 0);

    if (conf->certificate.len && !conf->enable) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_certificate\" has no effect while certctl is "
                      "off: add \"certctl on;\" to the server in %s:%ui",
                      file, line);
        return NGX_CONF_ERROR;
    }

    if (own && !conf->tls) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"certctl on\" has no effect without "
                      "\"listen ... ssl;\" in the server in %s:%ui",
                      file, line);
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_certctl_conf_incomplete(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf,
    ngx_uint_t verify, size_t ca, u_char *file, ngx_uint_t line)
{
    /* "on" and "optional"; a default server NGINX refuses in any case */

    if (conf->first || (verify != 1 && verify != 2) || ca) {
        return 0;
    }

    conf->incomplete = 1;

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"certctl on\" has no effect in the server in %s:%ui: add "
                  "\"ssl_client_certificate\", which \"ssl_verify_client\" "
                  "needs", file, line);

    return 1;
}


char *
ngx_certctl_conf_complete(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf,
    ngx_array_t *inherited, ngx_array_t **certificates, ngx_array_t **keys)
{
    /* unset: the directive is not in the configuration */

    if (*certificates != NGX_CONF_UNSET_PTR
        || inherited != NGX_CONF_UNSET_PTR)
    {
        return NGX_CONF_OK;
    }

    if (ngx_certctl_placeholder_values(cf, certificates, keys) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    conf->placeholder = 1;

    return NGX_CONF_OK;
}
