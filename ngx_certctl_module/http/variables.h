
/*
 * The embedded variables: http/variables.c.
 */

#ifndef _NGX_HTTP_CERTCTL_VARIABLES_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_VARIABLES_H_INCLUDED_


#include "call/main_conf.h"


/* For preconfiguration. */
ngx_int_t ngx_http_certctl_add_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_CERTCTL_VARIABLES_H_INCLUDED_ */
