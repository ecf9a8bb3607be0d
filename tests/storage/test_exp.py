import time, socket, pathlib
from pydantic import SecretStr
from storage.store import *
def attempt(name, f):
    t=time.time()
    try: r=f(); print(name,'OK',str(r)[:100], round(time.time()-t,1))
    except BaseException as e: print(name, type(e).__name__, str(e)[:300], '| cause', repr(e.__cause__)[:300], round(time.time()-t,1))
def test_x(settings, tmp_path):
    s=ObjectStore(settings)
    src=tmp_path/'a'; src.write_bytes(b'hello')
    def ops(n, s):
        attempt(n+' put',lambda: s.put(src,'t/k'))
        attempt(n+' putb',lambda: s.put_bytes(b'x','t/k2'))
        attempt(n+' fetch',lambda: s.fetch('t/k',tmp_path/'b'))
        attempt(n+' read',lambda: s.read_bytes('t/k'))
        attempt(n+' fetch none',lambda: s.fetch('t/none',tmp_path/'b'))
        attempt(n+' read none',lambda: s.read_bytes('t/none'))
        attempt(n+' exists',lambda: s.exists('t/k'))
        attempt(n+' exists none',lambda: s.exists('t/none'))
        attempt(n+' rm',lambda: s.remove('t/k'))
        attempt(n+' rm again',lambda: s.remove('t/k'))
    ops('ok',s)
    ops('secret',ObjectStore(settings.model_copy(update={'s3_secret_access_key':SecretStr('wrong-secret-wrong-secret-wrong')})))
    ops('keyid',ObjectStore(settings.model_copy(update={'s3_access_key_id':'AKIAWRONGWRONGWRONG'})))
    ops('bucket',ObjectStore(settings.model_copy(update={'archive_url':'s3://no-such-bucket/x'})))
    ops('file',ObjectStore(settings.model_copy(update={'archive_url':f'file://{tmp_path}/arch'})))
    ops('refused',ObjectStore(settings.model_copy(update={'s3_endpoint_url':'http://127.0.0.1:1'})))
    with socket.create_server(('127.0.0.1',0)) as silent:
        ops_s=ObjectStore(settings.model_copy(update={'s3_endpoint_url':f'http://127.0.0.1:{silent.getsockname()[1]}','store_timeout_s':1.0}))
        attempt('silent putb',lambda: ops_s.put_bytes(b'x','t/k2'))
        attempt('silent put',lambda: ops_s.put(src,'t/k2'))
        attempt('silent read',lambda: ops_s.read_bytes('t/k2'))
        attempt('silent fetch',lambda: ops_s.fetch('t/k2',tmp_path/'b'))
        attempt('silent exists',lambda: ops_s.exists('t/k2'))
        attempt('silent remove',lambda: ops_s.remove('t/k2'))
