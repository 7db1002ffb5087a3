create table types_demo (
  id int primary key,
  c_bool bool, c_int2 int2, c_int8 int8, c_float4 float4, c_float8 float8, c_numeric numeric(20,5),
  c_text text, c_varchar varchar(10), c_char char(5), c_bytea bytea,
  c_date date, c_time time, c_ts timestamp, c_tstz timestamptz, c_interval interval,
  c_uuid uuid, c_json json, c_jsonb jsonb, c_textarr text[], c_intarr int[], c_inet inet, c_int4range int4range
);
create type mood as enum ('sad','ok','happy');
alter table types_demo add c_enum mood;
create table ed_odd (id int primary key, f8 float8, num numeric, tstz timestamptz, d date, j jsonb, txt text, mm money, pt point, x xml, arr2 int[][], hs interval, bits bit(4), ttz timetz, uarr uuid[], narr numeric[], barr bytea[], tsarr timestamptz[]);
create publication types_pub for table types_demo, ed_odd with (publish = 'insert', publish_via_partition_root = true);
select pg_create_logical_replication_slot('types_slot', 'pgoutput');

insert into types_demo values (1,true,7,9223372036854775807,1.5,0.1,123.4500,'line1
line2 "q" \ü/€','vc','ch','\xdeadbeef','2024-02-29','13:14:15.123456','2024-02-29 13:14:15.123456','2024-02-29 13:14:15.123456+02','1 day 02:03:04','33333333-3333-4333-8333-333333333333','{"b":2, "a":1}','{"b":2, "a":1}','{a,"b c",NULL}','{1,2,3}','10.0.0.0/8','[1,5)','happy');
insert into types_demo(id) values (2);
insert into ed_odd values (1,'NaN','NaN','infinity','-infinity','{"u":"\u00e9\u2028<>&/","neg":-0.0,"exp":1e30,"tiny":1e-7,"f":1.10,"i":1e2,"dup":1,"dup":2}','tab	nl
bell '||chr(7)||' del'||chr(127)||' nul-free 😀',12.34,'(1,2)','<a>b</a>','{{1,2},{3,4}}','-1 mon +2 days -03:04:05.678',B'1010','12:34:56.789+05:30','{33333333-3333-4333-8333-333333333333}','{1.10,2.5}','{"\\xdead"}','{"2024-01-01 00:00:00+00"}');
insert into ed_odd(id,f8,num,tstz,d) values (2,'Infinity','123456789012345678901234567890.123456789','0044-03-15 12:00:00+00 BC','9999-12-31');
insert into ed_odd(id,f8,num,tstz,d) values (3,1e300,'1e-20','2024-01-01 00:00:00.000001+00','0001-01-01');
insert into ed_odd(id,f8,num,tstz) values (4,100000000,1000.00,'2024-01-01 00:00:00+00');
