#define _GNU_SOURCE /* fopencookie */
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "shim.h"

#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_errno.h>
#include <rte_flow.h>
#include <rte_version.h>

#define SAME_PLACE(field)                                                                                              \
	_Static_assert(offsetof(struct shim_mbuf, field) == offsetof(struct rte_mbuf, field), "rte_mbuf." #field " moved"); \
	_Static_assert(sizeof(((struct shim_mbuf *)0)->field) == sizeof(((struct rte_mbuf *)0)->field),                    \
		       "rte_mbuf." #field " changed its size")

SAME_PLACE(buf_addr);
SAME_PLACE(data_off);
SAME_PLACE(refcnt);
SAME_PLACE(nb_segs);
SAME_PLACE(port);
SAME_PLACE(ol_flags);
SAME_PLACE(packet_type);
SAME_PLACE(pkt_len);
SAME_PLACE(data_len);
SAME_PLACE(vlan_tci);
SAME_PLACE(vlan_tci_outer);
SAME_PLACE(buf_len);
_Static_assert(offsetof(struct shim_mbuf, rss) == offsetof(struct rte_mbuf, hash), "rte_mbuf.hash moved");

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, frames, n);
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, frames, n);
}

int shim_rx_used(uint16_t port, uint16_t queue)
{
	return rte_eth_rx_queue_count(port, queue);
}

struct rte_mbuf *shim_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void shim_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

int shim_errno(void)
{
	return rte_errno;
}

int shim_getopt_position(void)
{
	return optind;
}

static void (*log_write)(const char *text, size_t len);

static ssize_t write_cookie(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	log_write(text, len);
	return (ssize_t)len;
}

int shim_log_to(void (*write)(const char *text, size_t len))
{
	FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_cookie});

	if (stream == NULL)
		return -1;
	log_write = write;
	return rte_openlog_stream(stream);
}

int shim_tel_add_number(struct rte_tel_data *dict, const char *name, uint64_t number)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
	return rte_tel_data_add_dict_uint(dict, name, number);
#else
	return rte_tel_data_add_dict_u64(dict, name, number);
#endif
}

const char *shim_device_arguments(const struct rte_device *device)
{
	const struct rte_devargs *devargs = rte_dev_devargs(device);

	return devargs ? devargs->args : NULL;
}

int shim_flow_rules(uint16_t port)
{
	const struct rte_flow_attr attributes = { .ingress = 1 };
	const struct rte_flow_item pattern[] = {
		{ .type = RTE_FLOW_ITEM_TYPE_ETH },
		{ .type = RTE_FLOW_ITEM_TYPE_IPV4 },
		{ .type = RTE_FLOW_ITEM_TYPE_TCP },
		{ .type = RTE_FLOW_ITEM_TYPE_END },
	};
	const struct rte_flow_action_queue queue = { .index = 0 };
	const struct rte_flow_action actions[] = {
		{ .type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};
	struct rte_flow_error error;

	return rte_flow_validate(port, &attributes, pattern, actions, &error);
}
