
/*
 * A control request on its way from the client to a thread and back.
 */

#ifndef _NGX_CERTCTL_CALL_H_INCLUDED_
#define _NGX_CERTCTL_CALL_H_INCLUDED_


#include "call/json.h"
#include "call/main_conf.h"


/* Tasks that one worker may have on its threads; beyond it answers 503. */
#define NGX_HTTP_CERTCTL_TASKS       64

/* Certificates in one page of the report: without "limit", and at most. */
#define NGX_HTTP_CERTCTL_LIMIT       1000
#define NGX_HTTP_CERTCTL_LIMIT_MAX   10000

/* Longest If-Match that may fit a generation, with its NUL. */
#define NGX_HTTP_CERTCTL_IF_MATCH    256

#define NGX_HTTP_CERTCTL_NAME_RULE                                            \
    "a name is 1 to 253 of the characters A-Z a-z 0-9 . _ * -"

#define NGX_HTTP_CERTCTL_NO_SNI_RULE                                          \
    "but clients that connect to an IP address send no SNI (RFC 6066 section " \
    "3), and no default server serves it: write the address first in the "    \
    "server_name of a default_server"

#define NGX_HTTP_CERTCTL_FINGERPRINT_FILE  "certctl-agent.fingerprint"


/* Arguments of control requests: a row of call/args.c for each. */

typedef enum {
    NGX_HTTP_CERTCTL_ARG_KEY = 0,
    NGX_HTTP_CERTCTL_ARG_SAN,
    NGX_HTTP_CERTCTL_ARG_MUST_STAPLE,
    NGX_HTTP_CERTCTL_ARG_REUSE_KEY,
    NGX_HTTP_CERTCTL_ARG_REUSE_PENDING,
    NGX_HTTP_CERTCTL_ARG_KEYGEN,
    NGX_HTTP_CERTCTL_ARG_NAME,               /* of a record */
    NGX_HTTP_CERTCTL_ARG_HOST,               /* or a host name, an address */
    NGX_HTTP_CERTCTL_ARG_TTL,
    NGX_HTTP_CERTCTL_ARG_FORM,
    NGX_HTTP_CERTCTL_ARG_LIMIT,
    NGX_HTTP_CERTCTL_ARG_AFTER,
    NGX_HTTP_CERTCTL_ARG_DIR,
    NGX_HTTP_CERTCTL_ARG_MAX
} ngx_http_certctl_arg_e;


typedef struct ngx_http_certctl_call_s   ngx_http_certctl_call_t;

typedef void (*ngx_http_certctl_work_pt)(ngx_http_certctl_call_t *call);


/* One control request that is known: a row of the routing table. */

typedef struct {
    ngx_uint_t                 methods;
    const char                *path;         /* "{name}": a segment */
    ngx_uint_t                 args;         /* bits of those it takes */
    const char                *media;        /* of its body; NULL: no body */
    size_t                     body_max;
    ngx_http_certctl_work_pt   before;       /* on the event loop, or NULL */
    ngx_http_certctl_work_pt   work;         /* on a thread */
} ngx_http_certctl_route_t;


/*
 * One control request under way.  It owns its memory, none of it from the
 * request's pool: a thread may outlive the client.  While queued is set, the
 * event loop uses request alone.
 */

struct ngx_http_certctl_call_s {
    ngx_thread_task_t                task;       /* first */

    ngx_http_request_t              *request;    /* NULL: the client is gone */
    ngx_http_certctl_main_conf_t    *mcf;
    const ngx_http_certctl_route_t  *route;

    char                             name[CERTCTL_NAME_MAX + 1];
    char                            *args[NGX_HTTP_CERTCTL_ARG_MAX];
    char                            *arg_text;   /* where args point to */
    char                             if_match[NGX_HTTP_CERTCTL_IF_MATCH];

    u_char                          *body;       /* wiped when freed */
    size_t                           body_size;
    size_t                           body_len;
    ngx_msec_t                       body_start;

    /* the answer */
    ngx_uint_t                       status;
    const char                      *media;      /* of it; NULL: JSON */
    const char                      *allow;      /* of a 405 */
    char                             etag[64];
    ngx_http_certctl_json_t          json;

    /* for the log: the event loop writes it when the work is done */
    const char                      *done;       /* "certificate is live" */
    char                             fingerprint[CERTCTL_HEX256];
    uint64_t                         generation;
    int                              err;        /* errno of a failure */

    ngx_uint_t                      *counter;    /* of such calls, this one
                                                    too; or NULL */

    unsigned                         queued:1;
    unsigned                         lag_measured:1;
    unsigned                         answered:1; /* its header was sent */
    unsigned                         replaced:1; /* NGINX's error page */
};


/* call/fingerprint.c */

/* Writes fingerprint to the file in the store's folder; 0 or -1 with errno. */
int ngx_http_certctl_agent_fingerprint(const char *store_path,
    const char *fingerprint);

/* call/args.c */

/* NULL, or the rule that the name in a path, or the arguments, break. */
const char *ngx_http_certctl_request_name(ngx_http_certctl_call_t *call,
    const u_char *text, size_t len);
const char *ngx_http_certctl_request_args(ngx_http_certctl_call_t *call,
    ngx_str_t *args);

/* The same of a body, which they stay in; on a thread. */
const char *ngx_http_certctl_request_form(ngx_http_certctl_call_t *call);

/* call/tags.c */

/* Whether a list has the tag (without quotes); weak: W/ is no difference. */
ngx_uint_t ngx_http_certctl_tag_listed(ngx_str_t *list, ngx_str_t *tag,
    ngx_uint_t weak);

/* 1 when If-Match is "" or fits generation (0: there is no record). */
ngx_uint_t ngx_http_certctl_record_matches(const char *if_match,
    uint64_t generation);

/* Both on the event loop; the second answers 304 to a client that knows it. */
void ngx_http_certctl_request_if_match(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_etag(ngx_http_certctl_call_t *call);

/* call/body.c: a content handler's return code */

ngx_int_t ngx_http_certctl_request_read_body(ngx_http_certctl_call_t *call);

/* call/task.c */

ngx_http_certctl_call_t *ngx_http_certctl_request_create(
    ngx_http_request_t *r);

/* Runs the work on a thread, then answers and finalizes the request. */
void ngx_http_certctl_request_run(ngx_http_certctl_call_t *call);

/* The only way to a thread, and the last call of a task there. */
ngx_int_t ngx_http_certctl_thread_post(ngx_thread_pool_t *tp,
    ngx_thread_task_t *task);
void ngx_http_certctl_thread_end(void);

/* Before the process ends: waits for the threads that NGINX did not. */
void ngx_http_certctl_threads_exit(void);

/* call/answer.c */

/* On any thread. */

/* Begins an answer: 200, and an object that is to be closed; and a whole one,
   {"name": ..., "deleted": true}. */
void ngx_http_certctl_answer_open(ngx_http_certctl_call_t *call);
void ngx_http_certctl_answer_deleted(ngx_http_certctl_call_t *call);

/* Makes the answer an error: {"error": rule}.  NGX_DECLINED. */
ngx_int_t ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule);

/* What a code of the store means: the rule, and the status to answer. */
const char *ngx_http_certctl_store_rule(int rc, ngx_uint_t *status);

/* The same for a code of the store. */
ngx_int_t ngx_http_certctl_request_store_error(ngx_http_certctl_call_t *call,
    int rc);

/* Sends the answer; event loop. */
ngx_int_t ngx_http_certctl_request_answer(ngx_http_certctl_call_t *call);

/* Sets the response's header; makes buffers of what json holds, or NULL. */
ngx_int_t ngx_http_certctl_answer_headers(ngx_http_certctl_call_t *call);
ngx_chain_t *ngx_http_certctl_answer_body(ngx_http_certctl_call_t *call);

/* call/loop_lag.c: around the work of a control request; event loop */

void ngx_http_certctl_lag_begin(ngx_certctl_zone_t *zone);
void ngx_http_certctl_lag_end(void);
/* On a thread, between two steps of long work. */
void ngx_http_certctl_yield_to_loop(void);
/* Whether NGINX is shutting down without waiting for responses. */
ngx_uint_t ngx_http_certctl_is_terminating(void);


#endif /* _NGX_CERTCTL_CALL_H_INCLUDED_ */
