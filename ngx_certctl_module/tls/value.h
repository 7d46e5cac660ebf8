
/*
 * What variables say of a connection's certificate: tls/value.c.
 */

#ifndef _NGX_CERTCTL_VALUE_H_INCLUDED_
#define _NGX_CERTCTL_VALUE_H_INCLUDED_


#include "cert/certctl.h"


typedef struct {
    ngx_str_t    name;                      /* of the variable */
    void       (*print)(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
                        ngx_str_t *value);
} ngx_certctl_value_t;


/* Ends with an empty name. */
extern ngx_certctl_value_t  ngx_certctl_values[];

/*
 * The value for c, in pool; not found outside TLS and where certctl is off.
 * NGX_ERROR without memory.
 */
ngx_int_t ngx_certctl_value_get(ngx_certctl_value_t *value,
    ngx_connection_t *c, ngx_pool_t *pool, ngx_variable_value_t *v);


#endif /* _NGX_CERTCTL_VALUE_H_INCLUDED_ */
