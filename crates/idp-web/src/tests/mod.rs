//! The router driven as a browser or a client would, over the domain and a store in a file.

mod accounts;
mod claims;
mod client_authentication;
mod code_flow;
mod deferred;
mod front_channel;
mod grants;
mod logout;
mod management;
mod pages;
mod parameters;
mod possession;
mod pushed;
mod registration;
mod request_objects;
mod response_modes;
mod roles;
mod sessions;
mod targets;
mod tokens;
mod users;
mod world;
