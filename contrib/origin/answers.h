/* The table of paths, for `origin -h`. */
#ifndef ORIGIN_ANSWERS_H
#define ORIGIN_ANSWERS_H

#include <stdio.h>

void answers_print_help(FILE *out);

#endif
