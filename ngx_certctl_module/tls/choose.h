
/*
 * Which certificate a server gives for a name: tls/choose.c.
 */

#ifndef _NGX_CERTCTL_CHOOSE_H_INCLUDED_
#define _NGX_CERTCTL_CHOOSE_H_INCLUDED_


#include "cert/certctl.h"


/* A name as the store keeps it: lower case, no dot at its end, NUL-terminated;
   empty when it can have no certificate. */

typedef struct {
    u_char      data[CERTCTL_NAME_MAX + 1];
    size_t      len;
} ngx_certctl_name_t;


/* The name a client asks server for; without one, or with an empty one, the
   server's first. */
void ngx_certctl_name(ngx_certctl_server_t *server, ngx_str_t *asked,
    ngx_certctl_name_t *ret);

/* ngx_certctl_choose() without what stands in for a missing kind. */
void ngx_certctl_choose_first(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret);

/* Adds static certificates of kinds that the store has none of, and stored ones
   of kinds that are not configured where a static one wins, for clients that
   know no other kind. */
void ngx_certctl_choose_second(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret);

/* Why choice has the one of kind: a sentence. */
const char *ngx_certctl_choose_why(ngx_certctl_choice_t *choice,
    certctl_kind_e kind);


#endif /* _NGX_CERTCTL_CHOOSE_H_INCLUDED_ */
