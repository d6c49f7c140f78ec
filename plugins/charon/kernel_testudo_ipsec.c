/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel_testudo_ipsec.h"
#include "bridge_messages.h"

#include <daemon.h>
#include <kernel/kernel_interface.h>

typedef struct private_kernel_testudo_ipsec_t private_kernel_testudo_ipsec_t;

struct private_kernel_testudo_ipsec_t {
	kernel_ipsec_t public;
	bridge_t *bridge;
};

/* An SA's identity as a message has it; the parts live as long as this. */
typedef struct {
	Testudo__Bridge__SaId message;
	Testudo__Bridge__Host source;
	Testudo__Bridge__Host destination;
} sa_id_t;

/* A policy as a message has it. */
typedef struct {
	Testudo__Bridge__Policy message;
	Testudo__Bridge__Selector source;
	Testudo__Bridge__Selector destination;
	Testudo__Bridge__Host sa_source;
	Testudo__Bridge__Host sa_destination;
} policy_t;

/* Fills the message's identity of an SA; FALSE, and logged, when the node could not have such an SA. */
static bool fill_sa_id(sa_id_t *out, kernel_ipsec_sa_id_t *id, const char *what)
{
	testudo__bridge__sa_id__init(&out->message);
	if (!bridge_host(&out->source, id->src) || !bridge_host(&out->destination, id->dst))
	{
		DBG1(DBG_KNL, "testudo: cannot %s: addresses of an unknown family", what);
		return FALSE;
	}
	if (id->mark.value || id->if_id)
	{
		DBG1(DBG_KNL, "testudo: cannot %s: marks and interface ids (mark_in, mark_out, if_id_in, if_id_out) are not "
			 "supported", what);
		return FALSE;
	}
	out->message.source = &out->source;
	out->message.destination = &out->destination;
	out->message.spi = ntohl(id->spi);
	out->message.protocol = id->proto;
	return TRUE;
}

/* Name of the IKE connection that this thread works for. */
static char *connection_name(void)
{
	ike_sa_t *ike_sa = charon->bus->get_sa(charon->bus);
	char *name = ike_sa ? ike_sa->get_name(ike_sa) : NULL;

	return name ?: "";
}

/* A policy leads to a tunnel's name, not to addresses: an SA that moves leaves its policies as they are. */
METHOD(kernel_ipsec_t, get_features, kernel_feature_t,
	private_kernel_testudo_ipsec_t *this)
{
	return KERNEL_NO_POLICY_UPDATES;
}

METHOD(kernel_ipsec_t, get_spi, status_t,
	private_kernel_testudo_ipsec_t *this, host_t *src, host_t *dst, uint8_t protocol, uint32_t *spi)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__GetSpi get = TESTUDO__BRIDGE__GET_SPI__INIT;
	Testudo__Bridge__Host source, destination;
	Testudo__Bridge__Answer *answer;
	status_t status = FAILED;

	if (!bridge_host(&source, src) || !bridge_host(&destination, dst))
	{
		return NOT_SUPPORTED;
	}
	get.source = &source;
	get.destination = &destination;
	get.protocol = protocol;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_GET_SPI;
	message.get_spi = &get;
	answer = this->bridge->request(this->bridge, &message, "allocate an SPI");
	if (!answer)
	{
		return FAILED;
	}
	if (answer->error && *answer->error)
	{
		DBG1(DBG_KNL, "testudo: node refused to allocate an SPI: %s", answer->error);
	}
	else if (answer->spi)
	{
		*spi = htonl(answer->spi);
		status = SUCCESS;
	}
	testudo__bridge__answer__free_unpacked(answer, NULL);
	return status;
}

METHOD(kernel_ipsec_t, get_cpi, status_t,
	private_kernel_testudo_ipsec_t *this, host_t *src, host_t *dst, uint16_t *cpi)
{
	DBG1(DBG_KNL, "testudo: IPComp is not supported: set ipcomp = no");
	return NOT_SUPPORTED;
}

static void fill_lifetimes(Testudo__Bridge__AddSa *add, Testudo__Bridge__Lifetime *seconds,
						   Testudo__Bridge__Lifetime *bytes, Testudo__Bridge__Lifetime *packets,
						   lifetime_cfg_t *lifetime)
{
	testudo__bridge__lifetime__init(seconds);
	testudo__bridge__lifetime__init(bytes);
	testudo__bridge__lifetime__init(packets);
	if (lifetime)
	{
		seconds->rekey = lifetime->time.rekey;
		seconds->life = lifetime->time.life;
		bytes->rekey = lifetime->bytes.rekey;
		bytes->life = lifetime->bytes.life;
		packets->rekey = lifetime->packets.rekey;
		packets->life = lifetime->packets.life;
	}
	add->seconds = seconds;
	add->bytes = bytes;
	add->packets = packets;
}

METHOD(kernel_ipsec_t, add_sa, status_t,
	private_kernel_testudo_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__AddSa add = TESTUDO__BRIDGE__ADD_SA__INIT;
	Testudo__Bridge__Lifetime seconds, bytes, packets;
	sa_id_t sa;
	status_t status;

	if (!fill_sa_id(&sa, id, "install an SA"))
	{
		return NOT_SUPPORTED;
	}
	add.id = &sa.message;
	add.inbound = data->inbound;
	add.reqid = data->reqid;
	add.connection = connection_name();
	add.mode = data->mode;
	add.encryption = data->enc_alg;
	add.encryption_key.data = data->enc_key.ptr;	/* lent: only the packed message is a copy, and that is wiped */
	add.encryption_key.len = data->enc_key.len;
	add.integrity = data->int_alg;
	add.integrity_key.data = data->int_key.ptr;
	add.integrity_key.len = data->int_key.len;
	add.replay_window = data->replay_window;
	add.encapsulation = data->encap;
	add.esn = data->esn;
	add.ipcomp = data->ipcomp;
	add.clear_df = !data->copy_df;
	add.no_ecn = !data->copy_ecn;
	add.zero_dscp = data->copy_dscp == DSCP_COPY_IN_ONLY || data->copy_dscp == DSCP_COPY_NO;
	add.dscp_in = data->copy_dscp == DSCP_COPY_IN_ONLY || data->copy_dscp == DSCP_COPY_YES;
	fill_lifetimes(&add, &seconds, &bytes, &packets, data->lifetime);
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_ADD_SA;
	message.add_sa = &add;

	/* Remembered first: a node that goes just after its answer must not leave an SA that nobody gives up. */
	this->bridge->remember_sa(this->bridge, id->spi, id->proto, id->dst);
	status = this->bridge->order(this->bridge, &message, "install an SA");
	if (status != SUCCESS)
	{
		this->bridge->forget_sa(this->bridge, id->spi, id->proto, id->dst);
	}
	return status;
}

METHOD(kernel_ipsec_t, update_sa, status_t,
	private_kernel_testudo_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__UpdateSa update = TESTUDO__BRIDGE__UPDATE_SA__INIT;
	Testudo__Bridge__Host source, destination;
	sa_id_t sa;
	status_t status;

	if (!fill_sa_id(&sa, id, "update an SA") || !bridge_host(&source, data->new_src) ||
		!bridge_host(&destination, data->new_dst) || data->new_reqid)
	{
		return NOT_SUPPORTED;
	}
	update.id = &sa.message;
	update.new_source = &source;
	update.new_destination = &destination;
	update.encapsulation = data->new_encap;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_UPDATE_SA;
	message.update_sa = &update;
	this->bridge->remember_sa(this->bridge, id->spi, id->proto, data->new_dst);
	status = this->bridge->order(this->bridge, &message, "update an SA");
	/* one entry of the two goes: the old one, or the new one when nothing has changed */
	this->bridge->forget_sa(this->bridge, id->spi, id->proto, status == SUCCESS ? id->dst : data->new_dst);
	return status == SUCCESS ? SUCCESS : NOT_SUPPORTED;	/* charon then replaces the SA */
}

METHOD(kernel_ipsec_t, query_sa, status_t,
	private_kernel_testudo_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_query_sa_t *data,
	uint64_t *bytes, uint64_t *packets, time_t *use_time)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__QuerySa query = TESTUDO__BRIDGE__QUERY_SA__INIT;
	Testudo__Bridge__Answer *answer;
	sa_id_t sa;
	status_t status = FAILED;

	if (!fill_sa_id(&sa, id, "query an SA"))
	{
		return NOT_SUPPORTED;
	}
	query.id = &sa.message;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_QUERY_SA;
	message.query_sa = &query;
	answer = this->bridge->request(this->bridge, &message, "query an SA");
	if (!answer)
	{
		return FAILED;
	}
	if (!answer->error || !*answer->error)
	{
		if (bytes)
		{
			*bytes = answer->bytes;
		}
		if (packets)
		{
			*packets = answer->packets;
		}
		if (use_time)
		{
			time_t now = time_monotonic(NULL);
			*use_time = answer->used && answer->idle_seconds < (uint64_t)now ? now - (time_t)answer->idle_seconds : 0;
		}
		status = SUCCESS;
	}
	testudo__bridge__answer__free_unpacked(answer, NULL);
	return status;
}

METHOD(kernel_ipsec_t, del_sa, status_t,
	private_kernel_testudo_ipsec_t *this, kernel_ipsec_sa_id_t *id, kernel_ipsec_del_sa_t *data)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__DeleteSa delete = TESTUDO__BRIDGE__DELETE_SA__INIT;
	sa_id_t sa;

	if (!fill_sa_id(&sa, id, "delete an SA"))
	{
		return NOT_SUPPORTED;
	}
	delete.id = &sa.message;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_DELETE_SA;
	message.delete_sa = &delete;
	this->bridge->forget_sa(this->bridge, id->spi, id->proto, id->dst);
	return this->bridge->order(this->bridge, &message, "delete an SA");
}

METHOD(kernel_ipsec_t, flush_sas, status_t,
	private_kernel_testudo_ipsec_t *this)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__FlushSas flush = TESTUDO__BRIDGE__FLUSH_SAS__INIT;

	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_FLUSH_SAS;
	message.flush_sas = &flush;
	return this->bridge->order(this->bridge, &message, "flush the SAs");
}

static Testudo__Bridge__Policy__Kind kind_of(policy_type_t type)
{
	switch (type)
	{
		case POLICY_IPSEC:
			return TESTUDO__BRIDGE__POLICY__KIND__IPSEC;
		case POLICY_PASS:
			return TESTUDO__BRIDGE__POLICY__KIND__PASS;
		case POLICY_DROP:
			return TESTUDO__BRIDGE__POLICY__KIND__DROP;
	}
	return TESTUDO__BRIDGE__POLICY__KIND__UNKNOWN;
}

static bool fill_policy(policy_t *out, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	testudo__bridge__policy__init(&out->message);
	if (!bridge_selector(&out->source, id->src_ts) || !bridge_selector(&out->destination, id->dst_ts) ||
		!bridge_host(&out->sa_source, data->src) || !bridge_host(&out->sa_destination, data->dst))
	{
		DBG1(DBG_KNL, "testudo: policy of an unknown address family: %R === %R", id->src_ts, id->dst_ts);
		return FALSE;
	}
	out->message.direction = id->dir == POLICY_IN ? TESTUDO__BRIDGE__POLICY__DIRECTION__IN :
							 id->dir == POLICY_OUT ? TESTUDO__BRIDGE__POLICY__DIRECTION__OUT :
							 TESTUDO__BRIDGE__POLICY__DIRECTION__FWD;
	out->message.kind = kind_of(data->type);
	out->message.class_ = data->prio;
	out->message.manual_priority = data->manual_prio;
	out->message.source = &out->source;
	out->message.destination = &out->destination;
	out->message.sa_source = &out->sa_source;
	out->message.sa_destination = &out->sa_destination;
	out->message.connection = connection_name();
	if (data->sa)
	{
		out->message.reqid = data->sa->reqid;
		out->message.spi = data->sa->esp.use ? ntohl(data->sa->esp.spi) : data->sa->ah.use ? ntohl(data->sa->ah.spi) : 0;
		out->message.mode = data->sa->mode;
	}
	return TRUE;
}

METHOD(kernel_ipsec_t, add_policy, status_t,
	private_kernel_testudo_ipsec_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__AddPolicy add = TESTUDO__BRIDGE__ADD_POLICY__INIT;
	policy_t policy;

	if (!fill_policy(&policy, id, data))
	{
		return NOT_SUPPORTED;
	}
	add.policy = &policy.message;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_ADD_POLICY;
	message.add_policy = &add;
	return this->bridge->order(this->bridge, &message, "install a policy");
}

METHOD(kernel_ipsec_t, query_policy, status_t,
	private_kernel_testudo_ipsec_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_query_policy_t *data,
	time_t *use_time)
{
	return NOT_SUPPORTED;	/* the time of use is that of the SA: query_sa() */
}

METHOD(kernel_ipsec_t, del_policy, status_t,
	private_kernel_testudo_ipsec_t *this, kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__DeletePolicy delete = TESTUDO__BRIDGE__DELETE_POLICY__INIT;
	policy_t policy;

	if (!fill_policy(&policy, id, data))
	{
		return NOT_SUPPORTED;
	}
	delete.policy = &policy.message;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_DELETE_POLICY;
	message.delete_policy = &delete;
	return this->bridge->order(this->bridge, &message, "delete a policy");
}

METHOD(kernel_ipsec_t, flush_policies, status_t,
	private_kernel_testudo_ipsec_t *this)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__FlushPolicies flush = TESTUDO__BRIDGE__FLUSH_POLICIES__INIT;

	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_FLUSH_POLICIES;
	message.flush_policies = &flush;
	return this->bridge->order(this->bridge, &message, "flush the policies");
}

/* charon has no socket of its own that IPsec could catch. */
METHOD(kernel_ipsec_t, bypass_socket, bool,
	private_kernel_testudo_ipsec_t *this, int fd, int family)
{
	return TRUE;
}

/* Without setting UDP_ENCAP: with it the kernel would take the ESP out of the socket. */
METHOD(kernel_ipsec_t, enable_udp_decap, bool,
	private_kernel_testudo_ipsec_t *this, int fd, int family, uint16_t port)
{
	return TRUE;
}

METHOD(kernel_ipsec_t, destroy, void,
	private_kernel_testudo_ipsec_t *this)
{
	free(this);
}

kernel_ipsec_t *kernel_testudo_ipsec_create(bridge_t *bridge)
{
	private_kernel_testudo_ipsec_t *this;

	INIT(this,
		.public = {
			.get_features = _get_features,
			.get_spi = _get_spi,
			.get_cpi = _get_cpi,
			.add_sa = _add_sa,
			.update_sa = _update_sa,
			.query_sa = _query_sa,
			.del_sa = _del_sa,
			.flush_sas = _flush_sas,
			.add_policy = _add_policy,
			.query_policy = _query_policy,
			.del_policy = _del_policy,
			.flush_policies = _flush_policies,
			.bypass_socket = _bypass_socket,
			.enable_udp_decap = _enable_udp_decap,
			.destroy = _destroy,
		},
		.bridge = bridge,
	);
	return &this->public;
}
