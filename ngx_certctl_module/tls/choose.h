
/*
 * Which certificate a server serves for a name: tls/choose.c.
 */

#ifndef _NGX_CERTCTL_CHOOSE_H_INCLUDED_
#define _NGX_CERTCTL_CHOOSE_H_INCLUDED_


#include "cert/certctl.h"


/* A name as the store has it: lower case, without a trailing dot, IPv6 as RFC
   5952 has it, NUL-terminated; empty when no certificate can be for it. */

typedef struct {
    u_char      data[CERTCTL_NAME_MAX + 1];
    size_t      len;
} ngx_certctl_name_t;


/* What text, of a client or of a server_name, is in the store. */
void ngx_certctl_name(ngx_str_t *text, ngx_certctl_name_t *ret);

/* ngx_certctl_choose() without what ngx_certctl_choose_second() adds.  name is
   what was looked for: sni; the server's first without one, or the default
   server's first where that one's certificate is served. */
void ngx_certctl_choose_first(ngx_certctl_server_t *server, ngx_str_t *sni,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret);

/* Adds, for clients that do not support the key type of what was chosen, static
   certificates of the other, or stored ones: of a wildcard, or of the name
   where a static one was chosen. */
void ngx_certctl_choose_second(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret);

/* Why choice has the certificate of kind: a sentence. */
const char *ngx_certctl_choose_why(ngx_certctl_choice_t *choice,
    certctl_kind_e kind);


#endif /* _NGX_CERTCTL_CHOOSE_H_INCLUDED_ */
