/*
 * One request as it arrives: its bytes become a head and a body, by RFC 9112 and
 * nothing beside it.  What a proxy before us might read differently is refused.
 */
#pragma once
#include "error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_HEAD_MAX    (16 * 1024)
#define MESSAGE_FIELDS_MAX  100
#define MESSAGE_BODY_MAX    (1024 * 1024)
#define MESSAGE_LINE_MAX    512         /* a chunk's size and extensions, a trailer */
#define MESSAGE_TRAILER_MAX 4096        /* all of them */

enum message_state {
    MESSAGE_HEAD, MESSAGE_BODY, MESSAGE_CHUNK_SIZE, MESSAGE_CHUNK_DATA,
    MESSAGE_CHUNK_END, MESSAGE_TRAILER, MESSAGE_DONE, MESSAGE_BAD
};

struct message_field {
    const char  *name;
    const char  *value;          /* without blanks around it */
};

/* Bytes that grow and are wiped when they go. */
struct message_bytes {
    char    *bytes;
    size_t   len;
    size_t   size;
};

struct message {
    enum message_state     state;
    struct message_bytes   head;         /* what method .. fields point into */
    struct message_bytes   body;
    const char            *method;       /* NULL until the head is read */
    const char            *path;         /* as sent */
    const char            *query;        /* without "?"; NULL: none */
    int                    minor;        /* of HTTP/1.minor */
    struct message_field   fields[MESSAGE_FIELDS_MAX];
    size_t                 n;
    bool                   close;        /* the peer wants no other request here */
    bool                   chunked;
    bool                   expects;      /* "100 Continue" before the body */
    bool                   empty_line;   /* one came before the request line */
    size_t                 left;         /* of the body, or of its chunk */
    size_t                 trailers;     /* their bytes */
    size_t                 line_len;
    char                   line[MESSAGE_LINE_MAX];
    struct error           err;          /* why it is MESSAGE_BAD */
};

/*
 * Takes bytes until the request is complete (MESSAGE_DONE) or refused
 * (MESSAGE_BAD); returns how many, at most len.  Then nothing more is taken.
 */
size_t message_feed(struct message *message, const char *bytes, size_t len);

/* The value of a field, NULL when it is absent; letter case is ignored. */
const char *message_field(const struct message *message, const char *name);

/* Wipes what it held, and is ready for the next request. */
void message_reset(struct message *message);

/* Fills method .. expects from message->head, which ends with an empty line. */
bool message_parse_head(struct message *message);

/* Splits "Name: value", which it changes, by RFC 9112 5. */
bool message_parse_field(char *line, size_t len, struct message_field *ret,
    struct error *err);

/* Whether a field means something else when there are two of it, or when a proxy
 * takes it out. */
bool message_is_single(const char *name);
