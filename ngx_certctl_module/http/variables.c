
/*
 * Variables that describe the certificate of the client's connection.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "tls/value.h"
#include "http/http_module.h"


static ngx_int_t
ngx_http_certctl_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    return ngx_certctl_value_get((ngx_certctl_value_t *) data, r->connection,
                                 r->pool, v);
}


ngx_int_t
ngx_http_certctl_add_variables(ngx_conf_t *cf)
{
    ngx_certctl_value_t  *value;
    ngx_http_variable_t  *var;

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
