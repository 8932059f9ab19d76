/* What Rust cannot call or name: DPDK's inline functions and its macros. One call a burst, none a packet. */
#ifndef RVS_DPDK_SHIM_H
#define RVS_DPDK_SHIM_H

#include <stdint.h>

#include <rte_config.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_telemetry.h>

/*
 * The first half of rte_mbuf's first cache line, as far as frames need it. rte_mbuf itself wraps these fields in other
 * unions from release to release; shim.c asserts that they lie where they lie here.
 */
struct shim_mbuf {
	void *buf_addr;
	uint64_t iova_or_next;
	uint16_t data_off;
	uint16_t refcnt;
	uint16_t nb_segs;
	uint16_t port;
	uint64_t ol_flags;
	uint32_t packet_type;
	uint32_t pkt_len;
	uint16_t data_len;
	uint16_t vlan_tci;
	uint32_t rss;
	uint32_t hash_hi;
	uint16_t vlan_tci_outer;
	uint16_t buf_len;
};

static const uint64_t SHIM_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t SHIM_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SHIM_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t SHIM_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t SHIM_RSS_UDP = RTE_ETH_RSS_UDP;
static const uint32_t SHIM_MQ_RX_RSS = RTE_ETH_MQ_RX_RSS;
static const uint32_t SHIM_SPEED_UNKNOWN = RTE_ETH_SPEED_NUM_UNKNOWN;
static const uint16_t SHIM_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint16_t SHIM_MAX_PORTS = RTE_MAX_ETHPORTS;
static const uint32_t SHIM_NO_OWNER = RTE_ETH_DEV_NO_OWNER;
static const uint32_t SHIM_MAX_LCORES = RTE_MAX_LCORE;
static const uint32_t SHIM_POOL_CACHE_MAX = RTE_MEMPOOL_CACHE_MAX_SIZE;
static const uint32_t SHIM_NAME_SIZE = RTE_ETH_NAME_MAX_LEN;
static const uint32_t SHIM_QUEUE_STARTED = RTE_ETH_QUEUE_STATE_STARTED;

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n);
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t n);

/* Descriptors of a receive queue that hold frames nobody has taken, or a negative errno. */
int shim_rx_used(uint16_t port, uint16_t queue);

/* A fresh frame of length 0, or NULL. */
struct rte_mbuf *shim_alloc(struct rte_mempool *pool);
void shim_free(struct rte_mbuf *frame);

/* Adds a number to a dictionary of telemetry, whose function has another name from release to release. */
int shim_tel_add_number(struct rte_tel_data *dict, const char *name, uint64_t number);

/* Whether a configured port takes a rule that brings TCP over IPv4 to its first queue: 0, or a negative errno. */
int shim_flow_rules(uint16_t port);

/* The arguments that a device was added with, without its name; NULL if there are none. They live as long as the device. */
const char *shim_device_arguments(const struct rte_device *device);

/* This thread's rte_errno. */
int shim_errno(void);

/* getopt's position, which names the argument at fault while the EAL prints its usage. */
int shim_getopt_position(void);

/* Sends all that DPDK logs to `write`, in pieces that end at line ends or anywhere else. Answers 0, or -1 (errno). */
int shim_log_to(void (*write)(const char *text, size_t len));

#endif
