/* Writes sentences about a broken rule into memory of the calling thread. */
#include "x509_rule.h"
#include "x509_info.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SUBJECT_MAX  200

/* No destructor: a thread may end after the program has unloaded this object. */
static _Thread_local char  sentence[CERTCTL_RULE_MAX];


const char *
certctl_rule(const char *format, ...)
{
    va_list  args;
    char     text[sizeof(sentence)];

    /* an argument may be the sentence before */

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    memcpy(sentence, text, sizeof(text));

    return sentence;
}


const char *
certctl_rule_of(int at, X509 *cert, const char *rule)
{
    char  subject[SUBJECT_MAX];

    if (!certctl_x509_subject(cert, subject, sizeof(subject))
        || subject[0] == '\0')
    {
        return certctl_rule("certificate %d of the chain: %s", at + 1, rule);
    }

    return certctl_rule("certificate %d of the chain (%s): %s", at + 1, subject,
                        rule);
}
