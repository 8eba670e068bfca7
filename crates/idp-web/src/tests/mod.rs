//! The router driven as a browser or a client would, over the domain and a store in a file.

mod accounts;
mod backchannel;
mod bad_input;
mod claims;
mod client_authentication;
mod code_flow;
mod deferred;
mod front_channel;
mod grants;
mod logout;
mod logs;
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
mod tickets;
mod tokens;
mod users;
mod world;
