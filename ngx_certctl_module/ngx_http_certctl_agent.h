
/*
 * The control listener's own header: a control request on its way from the
 * client to a thread and back.
 */

#ifndef _NGX_HTTP_CERTCTL_AGENT_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_AGENT_H_INCLUDED_


#include "ngx_http_certctl_module.h"


#define NGX_HTTP_CERTCTL_JSON_BLOCK  32768

/* Tasks that one worker may have on its threads; beyond it answers 503. */
#define NGX_HTTP_CERTCTL_TASKS       64

/* Answers of more than one piece that clients may be reading from a worker. */
#define NGX_HTTP_CERTCTL_STREAMS     8

/* Certificates in one page of the report. */
#define NGX_HTTP_CERTCTL_LIMIT_MAX   10000

/* Longest If-Match that may fit a generation, with its NUL. */
#define NGX_HTTP_CERTCTL_IF_MATCH    256

#define NGX_HTTP_CERTCTL_FINGERPRINT_FILE  "certctl-agent.fingerprint"


/* JSON in bounded blocks: ngx_http_certctl_report_json.c */

typedef struct ngx_http_certctl_json_block_s  ngx_http_certctl_json_block_t;

struct ngx_http_certctl_json_block_s {
    ngx_http_certctl_json_block_t  *next;
    size_t                          len;
    u_char                          data[NGX_HTTP_CERTCTL_JSON_BLOCK];
};

typedef struct {
    ngx_http_certctl_json_block_t  *first;
    ngx_http_certctl_json_block_t  *last;
    size_t                          size;
    unsigned                        comma:1;
    unsigned                        failed:1;    /* no memory */
} ngx_http_certctl_json_t;


/*
 * Arguments of control requests.  To add one: a row here, its check in
 * ngx_http_certctl_request_args.c, its bit in the routes that take it.
 */

#define NGX_HTTP_CERTCTL_ARGS(X)                                              \
    X(KEY,           "key")                                                   \
    X(SAN,           "san")                                                   \
    X(MUST_STAPLE,   "must_staple")                                           \
    X(REUSE_KEY,     "reuse_key")                                             \
    X(REUSE_PENDING, "reuse_pending")                                         \
    X(KEYGEN,        "keygen")                                                \
    X(NAME,          "name")                                                  \
    X(TTL,           "ttl")                                                   \
    X(FORM,          "form")                                                  \
    X(LIMIT,         "limit")                                                 \
    X(AFTER,         "after")\
    X(DIR,           "dir")

typedef enum {
#define X(NAME, text)  NGX_HTTP_CERTCTL_ARG_ ## NAME,
    NGX_HTTP_CERTCTL_ARGS(X)
#undef X
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
 * request's pool: a thread may outlive the client.  While queued is set, only
 * the thread touches anything but request.
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

    /* for the log, told by the event loop when the work is done */
    const char                      *done;       /* "certificate is live" */
    char                             fingerprint[CERTCTL_HEX256];
    uint64_t                         generation;
    int                              err;        /* errno of a failure */

    /*
     * A long answer is made piece by piece: with more set there are further
     * ones, for which the work is called again.  data is the work's own, freed
     * by release.
     */
    void                            *data;
    ngx_http_certctl_work_pt         release;
    ngx_thread_task_t               *helper;     /* set: the work is called
                                                    again at once, beside it;
                                                    see ..._request_task.c */
    ngx_chain_t                     *free;       /* buffers of the request */
    ngx_chain_t                     *busy;

    unsigned                         more:1;
    unsigned                         streaming:1;    /* more than one piece */
    unsigned                         queued:1;
    unsigned                         watched:1; /* by the event loop's meter */
    unsigned                         bulk:1;     /* counted as one */
    unsigned                         answered:1;
};


/* ngx_http_certctl_agent_auth.c */

/* NULL when the client of r may command this host, else the rule. */
const char *ngx_http_certctl_agent_auth(ngx_http_request_t *r);

/* What a listener of the agent is: called for every context with agent set. */
ngx_int_t ngx_http_certctl_agent_tls(ngx_conf_t *cf,
    ngx_certctl_server_t *server);

/* ngx_http_certctl_agent_listen.c */

/* Refuses listening sockets on which commands could come unprotected. */
ngx_int_t ngx_http_certctl_agent_listen(ngx_conf_t *cf);

/* ngx_http_certctl_agent_identity.c */

/* Writes fingerprint to the file in the store's folder; 0 or -1 with errno. */
int ngx_http_certctl_agent_fingerprint(const char *store_path,
    const char *fingerprint);


/* ngx_http_certctl_request.c */

ngx_int_t ngx_http_certctl_request_handler(ngx_http_request_t *r);

/* ngx_http_certctl_request_args.c */

/* NULL, or the rule that the name in a path, or the arguments, break. */
const char *ngx_http_certctl_request_name(ngx_http_certctl_call_t *call,
    const u_char *text, size_t len);
const char *ngx_http_certctl_request_args(ngx_http_certctl_call_t *call,
    ngx_str_t *args);

/* ngx_http_certctl_request_tags.c */

/* Whether a list has the tag (without quotes); weak: W/ is no difference. */
ngx_uint_t ngx_http_certctl_tag_listed(ngx_str_t *list, ngx_str_t *tag,
    ngx_uint_t weak);

/* 1 when If-Match is "" or fits generation (0: there is no record). */
ngx_uint_t ngx_http_certctl_record_matches(const char *if_match,
    uint64_t generation);

/* Both on the event loop; the second answers 304 to a client that knows it. */
void ngx_http_certctl_request_if_match(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_etag(ngx_http_certctl_call_t *call);

/* ngx_http_certctl_request_body.c: a content handler's return code */

ngx_int_t ngx_http_certctl_request_read_body(ngx_http_certctl_call_t *call);

/* ngx_http_certctl_request_task.c */

ngx_http_certctl_call_t *ngx_http_certctl_request_create(
    ngx_http_request_t *r, ngx_http_certctl_main_conf_t *mcf);

/* Runs the work on a thread, then answers and finalizes the request. */
void ngx_http_certctl_request_run(ngx_http_certctl_call_t *call);

/* The work's next piece, on a thread, or the end of the request. */
void ngx_http_certctl_request_more(ngx_http_certctl_call_t *call);

/* The only way to a thread, and the last that a task does there. */
ngx_int_t ngx_http_certctl_thread_post(ngx_thread_pool_t *tp,
    ngx_thread_task_t *task);
void ngx_http_certctl_thread_end(void);

/* Before the process ends: waits for the threads that NGINX did not. */
void ngx_http_certctl_threads_exit(void);

/* ngx_http_certctl_request_answer.c */

/* Makes the answer an error: {"error": rule}.  Any thread. */
void ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule);

/* What a code of the store means: the rule, and the status to answer. */
const char *ngx_http_certctl_store_rule(int rc, ngx_uint_t *status);

/* The same for a code of the store. */
void ngx_http_certctl_request_store_error(ngx_http_certctl_call_t *call,
    int rc);

/* Sends the answer, or its first piece; event loop. */
ngx_int_t ngx_http_certctl_request_answer(ngx_http_certctl_call_t *call);

/* Sends what json holds. */
ngx_int_t ngx_http_certctl_request_send(ngx_http_certctl_call_t *call);

/* Waits until the client has taken it, and asks for more. */
void ngx_http_certctl_request_wait(ngx_http_certctl_call_t *call);


/* ngx_http_certctl_request_bulk.c: how many are under way; event loop */

void ngx_http_certctl_bulk_before(ngx_http_certctl_call_t *call);
void ngx_http_certctl_bulk_after(ngx_http_certctl_call_t *call);

/* ngx_http_certctl_late.c: around what a control request takes; event loop */

void ngx_http_certctl_late_begin(ngx_certctl_zone_t *zone);
void ngx_http_certctl_late_end(void);
/* Of a thread, while there is a request. */
void ngx_http_certctl_late_give_way(void);
/* Whether the event loop has come to its end: nobody waits for an answer. */
ngx_uint_t ngx_http_certctl_late_over(void);


/* The requests: each runs on a thread. */

void ngx_http_certctl_request_csr(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_bulk(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_rollback(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_ocsp(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_flush(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put_http01(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_put_tlsalpn(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete_http01(ngx_http_certctl_call_t *call);
void ngx_http_certctl_request_delete_tlsalpn(ngx_http_certctl_call_t *call);

/* ngx_http_certctl_discover.c */
void ngx_http_certctl_request_discover(ngx_http_certctl_call_t *call);

void ngx_http_certctl_report_status(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_certificates(ngx_http_certctl_call_t *call);
void ngx_http_certctl_report_metrics(ngx_http_certctl_call_t *call);


/* ngx_http_certctl_request_record.c: what several requests share */

/* What a record says of its leaf, to which it keeps a pointer. */
void ngx_http_certctl_record_fill(certctl_record_t *record,
    const char *name, const struct certctl_leaf *leaf);

/* Counts a commit. */
void ngx_http_certctl_record_live(ngx_http_certctl_main_conf_t *mcf);

/* The members of a record: name, generation, fingerprint, not_after. */
void ngx_http_certctl_record_facts(ngx_http_certctl_json_t *json,
    const char *name, const struct certctl_leaf *leaf, uint64_t generation,
    char *fingerprint);

/* {"name", "generation", "fingerprint", "not_after"} of the live record. */
void ngx_http_certctl_request_live(ngx_http_certctl_call_t *call,
    const struct certctl_leaf *leaf, uint64_t generation);


/* A value goes to an object under its key, to an array with key NULL. */

void ngx_http_certctl_json_open(ngx_http_certctl_json_t *json,
    const char *key, u_char bracket);
void ngx_http_certctl_json_close(ngx_http_certctl_json_t *json,
    u_char bracket);
void ngx_http_certctl_json_string(ngx_http_certctl_json_t *json,
    const char *key, const u_char *data, size_t len);
void ngx_http_certctl_json_text(ngx_http_certctl_json_t *json,
    const char *key, const char *text);
void ngx_http_certctl_json_number(ngx_http_certctl_json_t *json,
    const char *key, int64_t value);
void ngx_http_certctl_json_flag(ngx_http_certctl_json_t *json,
    const char *key, ngx_uint_t value);
void ngx_http_certctl_json_time(ngx_http_certctl_json_t *json,
    const char *key, time_t when);
void ngx_http_certctl_json_raw(ngx_http_certctl_json_t *json,
    const u_char *data, size_t len);
void ngx_http_certctl_json_free(ngx_http_certctl_json_t *json);

/* Bytes of the character at p, 0 when it is not UTF-8: then it is written as
   U+FFFD. */
size_t ngx_http_certctl_json_utf8(const u_char *p, size_t len);

#define NGX_HTTP_CERTCTL_NO_UTF8  "\xEF\xBF\xBD"

/* Frees what is written, to go on writing behind it. */
void ngx_http_certctl_json_empty(ngx_http_certctl_json_t *json);


#endif /* _NGX_HTTP_CERTCTL_AGENT_H_INCLUDED_ */
