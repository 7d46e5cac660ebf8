
/*
 * Directives that stand in http{} and in stream{} are read, and judged, once.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_certctl_conf.h"


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
        || ngx_strcmp(value[1].data, CERTCTL_WIRE_IDENTITY) == 0)
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


void
ngx_certctl_conf_useless_name(ngx_conf_t *cf, u_char *file, ngx_uint_t line)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"certctl_certificate\" has no effect while certctl is "
                  "off: add \"certctl on;\" to the server in %s:%ui",
                  file, line);
}


void
ngx_certctl_conf_no_tls(ngx_conf_t *cf, u_char *file, ngx_uint_t line)
{
    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"certctl on\" has no effect without "
                  "\"listen ... ssl;\" in the server in %s:%ui", file, line);
}
