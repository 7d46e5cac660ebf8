
/*
 * The end of the configuration: http/start.c.
 */

#ifndef _NGX_HTTP_CERTCTL_START_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_START_H_INCLUDED_


#include "call/main_conf.h"


/*
 * For postconfiguration: loads certctl_trust, takes over the servers, and
 * arranges for the zone, which opens the store.  NGX_ERROR after logging why.
 */
ngx_int_t ngx_http_certctl_start(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf);


#endif /* _NGX_HTTP_CERTCTL_START_H_INCLUDED_ */
