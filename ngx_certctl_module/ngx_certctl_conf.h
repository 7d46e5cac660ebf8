
/*
 * What http{} and stream{} say alike about directives: ngx_certctl_conf.c.
 */

#ifndef _NGX_CERTCTL_CONF_H_INCLUDED_
#define _NGX_CERTCTL_CONF_H_INCLUDED_


#include "ngx_certctl.h"


/* For a directive that takes the name of a record, into an ngx_str_t. */
char *ngx_certctl_set_name_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Refuses certctl_certificate where certctl is off, and warns of certctl where
   there is no TLS, in the server of that file and line. */
void ngx_certctl_conf_useless_name(ngx_conf_t *cf, u_char *file,
    ngx_uint_t line);
void ngx_certctl_conf_no_tls(ngx_conf_t *cf, u_char *file, ngx_uint_t line);


#endif /* _NGX_CERTCTL_CONF_H_INCLUDED_ */
