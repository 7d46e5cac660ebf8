
/*
 * certctl_agent: makes a server or location the control listener's.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "agent/agent.h"


char *
ngx_http_certctl_agent(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_certctl_srv_conf_t   *scf;
    ngx_http_certctl_main_conf_t  *mcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    scf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_certctl_module);

    if (clcf->handler == ngx_http_certctl_request_handler) {
        return "is duplicate";
    }

    if (clcf->handler) {
        return "conflicts with another handler: use a location of its own";
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_certctl_module);
    mcf->agents++;

    clcf->handler = ngx_http_certctl_request_handler;
    scf->agent = 1;

    return NGX_CONF_OK;
}


char *
ngx_http_certctl_agent_users(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_certctl_main_conf_t *mcf = conf;

    uid_t          *uid;
    ngx_str_t      *value;
    ngx_uint_t      i;
    struct passwd  *pwd;

    if (mcf->agent_users) {
        return "is duplicate";
    }

    mcf->agent_users = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                        sizeof(uid_t));
    if (mcf->agent_users == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        ngx_set_errno(0);
        pwd = getpwnam((const char *) value[i].data);

        if (pwd == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "invalid user \"%V\": write the name of a user "
                               "who may send control requests over a unix "
                               "socket", &value[i]);
            return NGX_CONF_ERROR;
        }

        uid = ngx_array_push(mcf->agent_users);
        if (uid == NULL) {
            return NGX_CONF_ERROR;
        }

        *uid = pwd->pw_uid;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_certctl_agent_init(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_certctl_server_t         **server;
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_certctl_module);
    mcf->master = geteuid();

    if (ngx_http_certctl_agent_listen(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    server = mcf->certctl.servers.elts;

    for (i = 0; i < mcf->certctl.servers.nelts; i++) {
        if (server[i]->agent
            && ngx_http_certctl_agent_tls(cf, server[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
