/* Reads registers over Modbus TCP for some seconds and prints requests per second.
 *
 * libmodbus_client HOST PORT COUNT SECONDS
 *
 * The prototypes are libmodbus' public ones, so that its development package is not needed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct _modbus modbus_t;
modbus_t *modbus_new_tcp(const char *host, int port);
int modbus_set_slave(modbus_t *context, int unit);
int modbus_connect(modbus_t *context);
int modbus_read_registers(modbus_t *context, int address, int count, uint16_t *registers);

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    uint16_t registers[125];
    if (argc != 5)
        return 2;
    modbus_t *context = modbus_new_tcp(argv[1], atoi(argv[2]));
    if (context == NULL || modbus_set_slave(context, 1) || modbus_connect(context))
        return 1;
    double started = now(), seconds = atof(argv[4]);
    long requests = 0;
    while (now() - started < seconds) {
        if (modbus_read_registers(context, 0, atoi(argv[3]), registers) < 0)
            return 1;
        requests++;
    }
    printf("%.0f\n", requests / (now() - started));
    return 0;
}
