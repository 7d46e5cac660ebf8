
/*
 * The control listener: who may command this host, and its own identity.
 */

#ifndef _NGX_CERTCTL_AGENT_H_INCLUDED_
#define _NGX_CERTCTL_AGENT_H_INCLUDED_


#include "call/call.h"


/* agent/agent.c: directives */

/* Sets scf->agent of its server, which then serves the record "_agent" (wire.h)
   like a pinned one. */
char *ngx_http_certctl_agent(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* certctl_agent_users: see agent/auth.c. */
char *ngx_http_certctl_agent_users(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* In postconfiguration, when each mcf->certctl.servers[].ctx is known: client
   verification, TLS 1.3 only, no resumption on those with agent set. */
ngx_int_t ngx_http_certctl_agent_init(ngx_conf_t *cf);

/* In the master, once the store is open for writing (not in nginx -t): makes
   the identity if there is none, and logs its fingerprint. */
void ngx_http_certctl_agent_start(ngx_http_certctl_main_conf_t *mcf,
    ngx_log_t *log);


/* agent/auth.c */

/* NULL when the client of r may command this host, else the rule. */
const char *ngx_http_certctl_agent_auth(ngx_http_request_t *r);

/* What a listener of the agent is: called for every context with agent set. */
ngx_int_t ngx_http_certctl_agent_tls(ngx_conf_t *cf,
    ngx_certctl_server_t *server);

/* agent/listen.c */

/* Refuses listening sockets on which commands could come unprotected. */
ngx_int_t ngx_http_certctl_agent_listen(ngx_conf_t *cf);


/* agent/errors.c: once in each worker, when all other filters are known. */

void ngx_http_certctl_agent_errors(void);


/* agent/requests.c */

ngx_int_t ngx_http_certctl_request_handler(ngx_http_request_t *r);


#endif /* _NGX_CERTCTL_AGENT_H_INCLUDED_ */
