/* SPDX-License-Identifier: GPL-2.0-or-later
 * Testudo's plugin for strongSwan's charon: kernel interface and IKE socket, both served by a node over one Unix socket.
 *
 *   charon-systemd {
 *     load = … kernel-testudo! kernel-netlink vici
 *     plugins {
 *       kernel-testudo {
 *         socket = /run/testudo/charon.sock
 *       }
 *     }
 *   }
 */
#include <daemon.h>
#include <plugins/plugin.h>

#include "configuration.h"
#include "kernel_testudo_ipsec.h"
#include "kernel_testudo_socket.h"

#define DEFAULT_SOCKET "/run/testudo/charon.sock"

typedef struct private_kernel_testudo_plugin_t private_kernel_testudo_plugin_t;

struct private_kernel_testudo_plugin_t {
	plugin_t public;
	bridge_t *bridge;
};

/* charon makes the interfaces without arguments, and loads a plugin once. */
static bridge_t *the_bridge;

static kernel_ipsec_t *create_ipsec(void)
{
	configuration_watch(the_bridge);
	return kernel_testudo_ipsec_create(the_bridge);
}

static socket_t *create_socket(void)
{
	return kernel_testudo_socket_create(the_bridge);
}

METHOD(plugin_t, get_name, char*,
	private_kernel_testudo_plugin_t *this)
{
	return "kernel-testudo";
}

METHOD(plugin_t, get_features, int,
	private_kernel_testudo_plugin_t *this, plugin_feature_t *features[])
{
	static plugin_feature_t f[] = {
		PLUGIN_CALLBACK(kernel_ipsec_register, create_ipsec),
			PLUGIN_PROVIDE(CUSTOM, "kernel-ipsec"),
		PLUGIN_CALLBACK(socket_register, create_socket),
			PLUGIN_PROVIDE(CUSTOM, "socket"),
	};
	*features = f;
	return countof(f);
}

METHOD(plugin_t, destroy, void,
	private_kernel_testudo_plugin_t *this)
{
	this->bridge->destroy(this->bridge);
	the_bridge = NULL;
	free(this);
}

/* The only name that charon looks for. */
__attribute__((visibility("default"))) plugin_t *kernel_testudo_plugin_create(void);

plugin_t *kernel_testudo_plugin_create(void)
{
	private_kernel_testudo_plugin_t *this;
	char *path = lib->settings->get_str(lib->settings, "%s.plugins.kernel-testudo.socket", DEFAULT_SOCKET, lib->ns);
	bridge_t *bridge = bridge_create(path);

	if (!bridge)
	{
		return NULL;
	}
	the_bridge = bridge;
	INIT(this,
		.public = {
			.get_name = _get_name,
			.get_features = _get_features,
			.destroy = _destroy,
		},
		.bridge = bridge,
	);
	return &this->public;
}
