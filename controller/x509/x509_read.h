/* A certificate's DER, read without setting up what reads it. */
#pragma once
#include <openssl/x509.h>

/* As d2i_X509() with no certificate to fill. */
X509 *certctl_x509_read(const unsigned char **p, long len);
