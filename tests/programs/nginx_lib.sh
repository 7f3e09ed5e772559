# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# nginx in a directory of its own: nginx_prepare ADDRESS PORT [WORD] sets $NGINX, with html/index.html and
# html/small (612 bytes, as nginx's own welcome page).

nginx_prepare() {
	NGINX=$DIR/nginx${3:-}
	mkdir -p "$NGINX"/{html,put,tmp,logs}
	printf '<!doctype html><title>culvert</title><p>served at %s\n' "$1" >"$NGINX/html/index.html"
	head -c 612 /dev/urandom | base64 -w 0 | head -c 612 >"$NGINX/html/small"
	chmod -R a+rX "$NGINX"
	chown www-data "$NGINX/put" "$NGINX/tmp"
	cat >"$NGINX/nginx.conf" <<-END
	user www-data;
	worker_processes 2;
	daemon on;
	pid $NGINX/nginx.pid;
	error_log $NGINX/error.log notice;
	events { worker_connections 4096; }
	http {
		access_log $NGINX/access.log;
		sendfile on;
		tcp_nopush on;
		keepalive_timeout 65;
		keepalive_requests 100000;
		client_max_body_size 0;
		client_body_temp_path $NGINX/tmp/body;
		proxy_temp_path $NGINX/tmp/proxy;
		fastcgi_temp_path $NGINX/tmp/fastcgi;
		uwsgi_temp_path $NGINX/tmp/uwsgi;
		scgi_temp_path $NGINX/tmp/scgi;
		server {
			listen $1:$2 backlog=4096;
			root $NGINX/html;
			$(nginx -V 2>&1 | grep -q http_dav_module && printf 'location /put { root %s; dav_methods PUT; }' "$NGINX")
		}
	}
	END
	# A daemon leaves the namespace's process tree, not the namespace: space_remove ends it too.
}
