//! Where services and servers came from.

use crate::command::{Origin, ServerName, ServiceName};
use std::collections::HashMap;

/// The origins of what did not come at run time.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    services: HashMap<ServiceName, Origin>,
    servers: HashMap<(ServiceName, ServerName), Origin>,
    /// Who acts now.
    pub(super) acting: Origin,
}

impl Origins {
    pub fn service(&self, service: &ServiceName) -> Origin {
        self.services.get(service).copied().unwrap_or_default()
    }

    pub fn server(&self, service: ServiceName, server: ServerName) -> Origin {
        self.servers.get(&(service, server)).copied().unwrap_or_default()
    }

    /// A service was added or edited.
    pub fn note_service(&mut self, service: ServiceName) {
        let origin = self.acting.after(self.service(&service));
        self.services.insert(service, origin);
    }

    /// A server was added or edited.
    pub fn note_server(&mut self, service: ServiceName, server: ServerName) {
        let origin = self.acting.after(self.server(service, server));
        self.servers.insert((service, server), origin);
    }

    pub fn forget_service(&mut self, service: &ServiceName) {
        self.services.remove(service);
        self.servers.retain(|(of, _), _| of != service);
    }

    pub fn forget_server(&mut self, service: ServiceName, server: ServerName) {
        self.servers.remove(&(service, server));
    }
}

impl Origin {
    /// The origin of what was of `before` and is changed now by this one.
    fn after(self, before: Self) -> Self {
        match (self, before) {
            (Self::Runtime, Self::File | Self::FileEdited) => Self::FileEdited,
            (acting, _) => acting,
        }
    }
}
